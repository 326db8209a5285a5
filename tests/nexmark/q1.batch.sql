SELECT auction, bidder, CAST(price AS DECIMAL(20, 0)) * CAST('0.908' AS DECIMAL(4, 3)), date_time, extra FROM bid
