WITH numbered AS (
  SELECT a.category, b.price, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC) AS place
  FROM auction a JOIN bid b ON a.id = b.auction
  WHERE b.date_time >= a.date_time AND b.date_time <= a.expires
)
SELECT category, CAST(SUM(price) AS DOUBLE) / COUNT(*) FROM numbered WHERE place = 1 GROUP BY category
