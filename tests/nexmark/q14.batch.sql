SELECT auction, bidder, CAST(price AS DECIMAL(20, 0)) * CAST('0.908' AS DECIMAL(4, 3)),
  CASE
    WHEN to_char(date_time, '%H') BETWEEN '08' AND '18' THEN 'dayTime'
    WHEN to_char(date_time, '%H') IN ('07', '19') THEN 'otherTime'
    ELSE 'nightTime'
  END,
  date_time, extra, regexp_count(extra, 'c')
FROM bid
WHERE price * 908 > 1000000000 AND price * 908 < 50000000000
