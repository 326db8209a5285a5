-- How often each user bid in every ten seconds of processing time. Processing time is when the log received a record, so that a repeated
-- run gives the same; Flink's text says PROCTIME() instead.

CREATE TABLE nexmark_received (
  event_type INT,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime TIMESTAMP(3), extra STRING>,
  received_at TIMESTAMP(3) METADATA VIRTUAL
) WITH ('connector' = 'log', 'stream' = 'nexmark', 'format' = 'json');

CREATE VIEW bid_received AS SELECT bid.bidder, received_at FROM nexmark_received WHERE event_type = 2;

SELECT bidder, COUNT(*) AS bid_count, window_start, window_end
FROM TABLE(TUMBLE(TABLE bid_received, DESCRIPTOR(received_at), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
