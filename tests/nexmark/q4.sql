-- The mean closing price of each category. AVG of whole numbers would be a whole number without the CAST.

SET 'table.exec.state.ttl' = '1 d';

SELECT category, AVG(CAST(closing AS DOUBLE)) AS price
FROM (
  SELECT a.id, a.category, MAX(b.price) AS closing
  FROM auction AS a, bid AS b
  WHERE a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires
  GROUP BY a.id, a.category
)
GROUP BY category;
