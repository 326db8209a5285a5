WITH ranked AS (
  SELECT channel, date_time, bidder, auction, to_char(date_time, '%Y-%m-%d') AS day,
    CASE WHEN price < 10000 THEN 1 WHEN price < 1000000 THEN 2 ELSE 3 END AS rank
  FROM bid
)
SELECT channel, day, to_char(MAX(date_time), '%H:%M'),
  COUNT(*), SUM(CASE rank WHEN 1 THEN 1 ELSE 0 END), SUM(CASE rank WHEN 2 THEN 1 ELSE 0 END), SUM(CASE rank WHEN 3 THEN 1 ELSE 0 END),
  COUNT(DISTINCT bidder), COUNT(DISTINCT CASE rank WHEN 1 THEN bidder END), COUNT(DISTINCT CASE rank WHEN 2 THEN bidder END),
  COUNT(DISTINCT CASE rank WHEN 3 THEN bidder END),
  COUNT(DISTINCT auction), COUNT(DISTINCT CASE rank WHEN 1 THEN auction END), COUNT(DISTINCT CASE rank WHEN 2 THEN auction END),
  COUNT(DISTINCT CASE rank WHEN 3 THEN auction END)
FROM ranked GROUP BY channel, day
