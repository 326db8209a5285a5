SELECT p.name, p.city, p.state, a.id
FROM (SELECT * FROM person WHERE state <> 'AZ' AND state <> 'WA' AND state <> 'WY') p, auction a
WHERE a.seller - p.id = 0 AND a.category <= 10
