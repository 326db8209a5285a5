-- The highest bid of every ten seconds.

SET 'table.exec.state.ttl' = '1 d';

SELECT b.auction, b.price, b.bidder, b.dateTime, b.extra
FROM bid AS b JOIN (
  SELECT MAX(price) AS highest, window_end AS closed
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end
) AS top
ON b.price = top.highest
WHERE b.dateTime BETWEEN top.closed - INTERVAL '10' SECOND AND top.closed;
