SELECT auction, bidder, price, channel, url, date_time, extra, place
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC, bidder, channel, url, date_time, extra) AS place FROM bid
)
WHERE place < 11
