SELECT a.id, a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires, a.seller, a.category, a.extra,
  w.auction, w.bidder, w.price, w.date_time, w.extra
FROM auction a JOIN (
  SELECT b.*, ROW_NUMBER() OVER (PARTITION BY b.auction ORDER BY b.price DESC, b.date_time, b.bidder, b.extra) AS place
  FROM bid b JOIN auction o ON o.id = b.auction WHERE b.date_time >= o.date_time AND b.date_time <= o.expires
) w ON a.id = w.auction
WHERE w.place = 1
