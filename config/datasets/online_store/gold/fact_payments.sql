-- The payments of the orders.
-- kind: fact
-- key: order_id, payment_id
-- depends_on: payments(order_id -> order_id), orders(order_id -> order_id)
-- column: order_id string from payments.order_id: Id of the order that is paid.
-- column: payment_id string from payments.payment_id: Id of the payment.
-- column: customer_id int from orders.customer_id: Who ordered (dim_customer); -1: unknown.
-- column: payment_date_id int from payments.created_at: Day on which it was begun, in UTC, as YYYYMMDD.
-- column: method string from payments.method: How it is paid.
-- column: status string from payments.status: Where it stands: pending, paid, failed or refunded.
-- column: amount decimal(12,2) from payments.amount: Amount, in euros.
-- column: is_above_order boolean from payments.amount, orders.total_amount: Whether it is more than the order's total; NULL: the order is not there.
SELECT
    payments.order_id,
    payments.payment_id,
    coalesce(orders.customer_id, -1) AS customer_id,
    CAST(date_format(payments.created_at, 'yyyyMMdd') AS INT) AS payment_date_id,
    payments.method,
    payments.status,
    payments.amount,
    payments.amount > orders.total_amount AS is_above_order
FROM payments
LEFT JOIN orders ON orders.order_id = payments.order_id
