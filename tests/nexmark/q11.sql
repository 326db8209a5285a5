-- How often each user bid in a session.

SELECT b.bidder, COUNT(*) AS bid_count, SESSION_START(b.dateTime, INTERVAL '10' SECOND) AS starttime,
  SESSION_END(b.dateTime, INTERVAL '10' SECOND) AS endtime
FROM bid AS b
GROUP BY b.bidder, SESSION(b.dateTime, INTERVAL '10' SECOND);
