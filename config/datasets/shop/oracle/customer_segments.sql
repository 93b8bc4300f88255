-- What Gold's customer_segments has to be, computed by the source database itself.
SELECT c.id AS customer_id, count(o.id) AS orders, coalesce(sum(o.total), 0)::numeric(18, 2) AS revenue,
       CASE WHEN coalesce(sum(o.total), 0) >= :gold_from THEN 'Gold'
            WHEN coalesce(sum(o.total), 0) >= :silver_from THEN 'Silver' ELSE 'Bronze' END AS segment
FROM customers AS c
LEFT JOIN orders AS o ON o.customer_id = c.id AND o.status NOT IN ('cancelled', 'returned')
GROUP BY c.id
