WITH slides AS (
  SELECT auction, date_bin(INTERVAL '2 seconds', date_time) - back AS start
  FROM bid CROSS JOIN (VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'), (INTERVAL '6 seconds'),
    (INTERVAL '8 seconds')) AS hop (back)
), counted AS (
  SELECT start, auction, COUNT(*) AS num FROM slides GROUP BY start, auction
), placed AS (
  SELECT auction, num, RANK() OVER (PARTITION BY start ORDER BY num DESC) AS place FROM counted
)
SELECT auction, num FROM placed WHERE place = 1
