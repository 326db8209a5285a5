SELECT auction, bidder, price, date_time, extra, to_char(date_time, '%Y-%m-%d'), to_char(date_time, '%H:%M') FROM bid
