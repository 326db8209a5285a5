WITH cut AS (SELECT *, regexp_match(url, '^https://[^/]*/([^/]*)/([^/]*)/([^/]*)/') AS parts FROM bid)
SELECT auction, bidder, price, channel, parts[1], parts[2], parts[3] FROM cut
