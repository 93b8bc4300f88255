-- What each customer has bought, without cancelled and returned orders, and the segment that follows from it.
-- kind: fact
-- key: customer_id
-- depends_on: customers(id -> customer_id), orders(customer_id -> customer_id)
-- column: customer_id int from customers.id: Id of the customer.
-- column: orders bigint from orders.id, orders.status: Number of orders.
-- column: revenue decimal(18,2) from orders.total: Sum of the orders, in euros.
-- column: segment string from orders.total: Gold, Silver or Bronze, by the parameters gold_from and silver_from.
WITH bought AS (
    SELECT
        customers.id AS customer_id,
        count(orders.id) AS orders,
        CAST(coalesce(sum(orders.total), 0) AS DECIMAL(18, 2)) AS revenue
    FROM customers
    LEFT JOIN orders ON orders.customer_id = customers.id AND orders.status NOT IN ('cancelled', 'returned')
    GROUP BY customers.id
)
SELECT
    customer_id,
    orders,
    revenue,
    CASE WHEN revenue >= :gold_from THEN 'Gold' WHEN revenue >= :silver_from THEN 'Silver' ELSE 'Bronze' END AS segment
FROM bought
