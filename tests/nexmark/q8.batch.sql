SELECT DISTINCT p.id, p.name, date_bin(INTERVAL '10 seconds', p.date_time)
FROM person p JOIN auction a
ON a.seller = p.id AND date_bin(INTERVAL '10 seconds', a.date_time) = date_bin(INTERVAL '10 seconds', p.date_time)
