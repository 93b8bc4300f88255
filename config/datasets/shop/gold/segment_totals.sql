-- The customers and their orders by segment.
-- kind: fact
-- key: segment
-- depends_on: customers, orders
-- redis: rows
-- column: segment string from orders.total: Gold, Silver or Bronze, by the parameters gold_from and silver_from.
-- column: customers bigint from customers.id: Number of customers.
-- column: revenue decimal(18,2) from orders.total, orders.customer_id, orders.status: Sum of their orders, in euros, without cancelled and returned ones.
WITH bought AS (
    SELECT customers.id, CAST(coalesce(sum(orders.total), 0) AS DECIMAL(18, 2)) AS revenue
    FROM customers
    LEFT JOIN orders ON orders.customer_id = customers.id AND orders.status NOT IN ('cancelled', 'returned')
    GROUP BY customers.id
)
SELECT
    CASE WHEN revenue >= :gold_from THEN 'Gold' WHEN revenue >= :silver_from THEN 'Silver' ELSE 'Bronze' END AS segment,
    count(*) AS customers,
    CAST(sum(revenue) AS DECIMAL(18, 2)) AS revenue
FROM bought
GROUP BY 1
