-- Bids into the lake, with the day and the minute that they belong to.

CREATE TABLE nexmark_q10 (auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP(3), extra STRING, dt STRING, hm STRING)
WITH ('connector' = 'lake', 'tier' = 'warm', 'owner' = 'bench@example.com', 'description' = 'every bid');

INSERT INTO nexmark_q10
SELECT auction, bidder, price, dateTime, extra, DATE_FORMAT(dateTime, 'yyyy-MM-dd'), DATE_FORMAT(dateTime, 'HH:mm') FROM bid;
