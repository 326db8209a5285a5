-- The mean price of each seller's ten auctions that closed last. The usual text takes an OVER of results that change, which neither
-- Flink nor Thalweg runs (q6.over.sql); as two rankings it says the same of the newest row of each seller.

SET 'table.exec.state.ttl' = '1 d';

SELECT seller, AVG(CAST(price AS DOUBLE)) AS price
FROM (
  SELECT seller, price, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY expires DESC, id) AS age
  FROM (
    SELECT a.id, a.seller, a.expires, b.price, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.dateTime) AS place
    FROM auction AS a JOIN bid AS b ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires
  )
  WHERE place = 1
)
WHERE age <= 10
GROUP BY seller;
