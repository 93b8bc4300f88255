-- What Gold's customers_by_country has to be, computed by the source database itself.
SELECT c.country, count(DISTINCT c.id) AS customers, count(o.id) AS orders,
       coalesce(sum(o.total), 0)::numeric(18, 2) AS revenue
FROM customers AS c
LEFT JOIN orders AS o ON o.customer_id = c.id AND o.status NOT IN ('cancelled', 'returned')
GROUP BY c.country
