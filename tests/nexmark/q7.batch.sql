WITH top AS (
  SELECT date_bin(INTERVAL '10 seconds', date_time) AS start, MAX(price) AS highest FROM bid GROUP BY 1
)
SELECT auction, price, bidder, date_time, extra FROM bid
WHERE EXISTS (
  SELECT 1 FROM top
  WHERE top.highest = bid.price AND bid.date_time >= top.start AND bid.date_time <= top.start + INTERVAL '10 seconds'
)
