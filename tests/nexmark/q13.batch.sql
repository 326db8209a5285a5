SELECT b.auction, b.bidder, b.price, b.date_time, s.value FROM bid b, side_input s WHERE s.key = b.auction - b.auction / 10000 * 10000
