WITH gaps AS (
  SELECT bidder, date_time, date_time - LAG(date_time) OVER (PARTITION BY bidder ORDER BY date_time) > INTERVAL '10 seconds' AS apart FROM bid
), numbered AS (
  SELECT bidder, date_time,
    SUM(CASE WHEN apart THEN 1 ELSE 0 END) OVER (PARTITION BY bidder ORDER BY date_time RANGE UNBOUNDED PRECEDING) AS session
  FROM gaps
)
SELECT bidder, COUNT(*), MIN(date_time), MAX(date_time) + INTERVAL '10 seconds' FROM numbered GROUP BY bidder, session
