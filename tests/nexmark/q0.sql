-- Every bid as it is: what decoding costs.

SELECT auction, bidder, price, dateTime, extra FROM bid;
