-- As the benchmark has it.

SET 'table.exec.state.ttl' = '1 d';

SELECT seller, AVG(CAST(price AS DOUBLE)) OVER (PARTITION BY seller ORDER BY dateTime ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS price
FROM (
  SELECT a.seller, b.price, b.dateTime, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.dateTime) AS place
  FROM auction AS a JOIN bid AS b ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires
)
WHERE place = 1;
