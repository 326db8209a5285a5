SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time, b.extra,
  a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires, a.seller, a.category, a.extra
FROM (SELECT * FROM auction WHERE category < 11) a RIGHT JOIN bid b ON b.auction = a.id
WHERE a.id IS NOT NULL
