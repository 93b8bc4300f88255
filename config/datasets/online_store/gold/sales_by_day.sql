-- What was sold on each day, in UTC, without cancelled orders. Lines whose order is not there are left out.
-- kind: fact
-- key: order_date_id
-- depends_on: orders, order_items
-- column: order_date_id int from orders.order_date: Day as YYYYMMDD (dim_date).
-- column: orders bigint from orders.order_id, order_items.order_id, orders.status: Number of orders.
-- column: pieces bigint from order_items.quantity: Number of pieces.
-- column: revenue decimal(18,2) from order_items.quantity, order_items.unit_price: Price of all lines, in euros.
SELECT
    CAST(date_format(orders.order_date, 'yyyyMMdd') AS INT) AS order_date_id,
    count(DISTINCT orders.order_id) AS orders,
    sum(order_items.quantity) AS pieces,
    CAST(sum(order_items.quantity * order_items.unit_price) AS DECIMAL(18, 2)) AS revenue
FROM orders
JOIN order_items ON order_items.order_id = orders.order_id
WHERE orders.status <> 'cancelled'
GROUP BY 1
