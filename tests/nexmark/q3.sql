-- Who sells things of a category in some states: a join that nothing bounds in time.

SET 'table.exec.state.ttl' = '1 d';

SELECT p.name, p.city, p.state, a.id
FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
