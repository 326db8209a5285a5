-- The last bid of each user on each auction. Of bids in the same millisecond any may be the last; Thalweg takes the least row.

SELECT auction, bidder, price, channel, url, dateTime, extra
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY dateTime DESC) AS age FROM bid)
WHERE age <= 1;
