-- The orders of each day, in UTC, without cancelled and returned ones.
-- kind: fact
-- key: order_date_id
-- depends_on: orders
-- redis: rows
-- column: order_date_id int from orders.created_at: Day as YYYYMMDD.
-- column: orders bigint from orders.id, orders.status: Number of orders.
-- column: revenue decimal(18,2) from orders.total: Sum of the orders, in euros.
SELECT
    CAST(date_format(created_at, 'yyyyMMdd') AS INT) AS order_date_id,
    count(id) AS orders,
    CAST(sum(total) AS DECIMAL(18, 2)) AS revenue
FROM orders
WHERE status NOT IN ('cancelled', 'returned')
GROUP BY 1
