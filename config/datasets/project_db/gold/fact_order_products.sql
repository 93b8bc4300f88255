-- The products of the orders. Of a line whose order is not there, all that the order would say is unknown.
-- kind: fact
-- key: order_id, product_id
-- depends_on: order_details(order_id -> order_id), orders(id -> order_id)
-- dimensions: dim_customer(customer_id at _ordered_at), dim_payment_method(payment_method_id at _ordered_at)
-- column: order_id string from order_details.order_id: Id of the order.
-- column: product_id int from order_details.product_id: Id of the product (dim_product).
-- column: quantity int from order_details.quantity: How many of the product were ordered, in pieces.
-- column: customer_id int from orders.customer_id: Who ordered (dim_customer); -1: unknown.
-- column: payment_method_id int from orders.payment_method_id: How the order is paid (dim_payment_method); -1: unknown.
-- column: order_date_id int from orders.timestamp: Day of the order in UTC, as YYYYMMDD (dim_date); -1: unknown.
SELECT
    order_details.order_id,
    order_details.product_id,
    order_details.quantity,
    coalesce(orders.customer_id, -1) AS customer_id,
    coalesce(orders.payment_method_id, -1) AS payment_method_id,
    coalesce(CAST(date_format(orders.timestamp, 'yyyyMMdd') AS INT), -1) AS order_date_id,
    orders.timestamp AS _ordered_at
FROM order_details
LEFT JOIN orders ON orders.id = order_details.order_id
