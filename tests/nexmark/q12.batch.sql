WITH binned AS (SELECT bidder, date_bin(INTERVAL '10 seconds', received_at) AS start FROM bid)
SELECT bidder, COUNT(*), start, start + INTERVAL '10 seconds' FROM binned GROUP BY bidder, start
