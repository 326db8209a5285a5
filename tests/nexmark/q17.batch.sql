SELECT auction, to_char(date_time, '%Y-%m-%d'), COUNT(*), SUM(CASE WHEN price < 10000 THEN 1 ELSE 0 END),
  SUM(CASE WHEN price BETWEEN 10000 AND 999999 THEN 1 ELSE 0 END), SUM(CASE WHEN price > 999999 THEN 1 ELSE 0 END),
  MIN(price), MAX(price), CAST(SUM(price) AS DOUBLE) / COUNT(*), SUM(price)
FROM bid GROUP BY 1, 2
