WITH closed AS (
  SELECT a.id, a.seller, a.expires, MAX(b.price) AS price
  FROM auction a JOIN bid b ON a.id = b.auction
  WHERE b.date_time >= a.date_time AND b.date_time <= a.expires
  GROUP BY a.id, a.seller, a.expires
), numbered AS (
  SELECT seller, price, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY expires DESC, id) AS age FROM closed
)
SELECT seller, CAST(SUM(price) AS DOUBLE) / COUNT(*) FROM numbered WHERE age <= 10 GROUP BY seller
