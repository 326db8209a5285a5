-- Bids with a value from a table that does not grow.

SELECT b.auction, b.bidder, b.price, b.dateTime, s.`value`
FROM (SELECT *, PROCTIME() AS p_time FROM bid) AS b
JOIN side_input FOR SYSTEM_TIME AS OF b.p_time AS s ON MOD(b.auction, 10000) = s.`key`;
