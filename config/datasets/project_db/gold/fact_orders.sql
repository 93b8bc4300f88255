-- The orders, complete or not.
-- kind: fact
-- key: order_id
-- depends_on: orders(id -> order_id)
-- dimensions: dim_customer(customer_id at ordered_at), dim_payment_method(payment_method_id at ordered_at)
-- partition: order_date_id
-- column: order_id string from orders.id: Id of the order.
-- column: customer_id int from orders.customer_id: Who ordered (dim_customer); -1: unknown.
-- column: payment_method_id int from orders.payment_method_id: How the order is paid (dim_payment_method); -1: unknown.
-- column: store_id int from orders.store_id: Id of the store that took the order.
-- column: num_products int from orders.num_products: How many product lines the order says it has.
-- column: ordered_at timestamp from orders.timestamp: When the order was placed, in UTC.
-- column: order_date_id int from orders.timestamp: Day of the order in UTC, as YYYYMMDD (dim_date); -1: unknown.
SELECT
    id AS order_id,
    coalesce(customer_id, -1) AS customer_id,
    coalesce(payment_method_id, -1) AS payment_method_id,
    store_id,
    num_products,
    timestamp AS ordered_at,
    coalesce(CAST(date_format(timestamp, 'yyyyMMdd') AS INT), -1) AS order_date_id
FROM orders
