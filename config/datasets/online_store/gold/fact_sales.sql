-- The lines of the orders. Of a line whose order is not there, all that the order would say is unknown.
-- kind: fact
-- key: order_id, order_item_id
-- depends_on: order_items(order_id -> order_id), orders(order_id -> order_id)
-- dimensions: dim_customer(customer_id at _ordered_at), dim_product(product_id at _ordered_at), dim_seller(seller_id at _ordered_at)
-- column: order_id string from order_items.order_id: Id of the order.
-- column: order_item_id string from order_items.order_item_id: Id of the line.
-- column: customer_id int from orders.customer_id: Who ordered (dim_customer); -1: unknown.
-- column: product_id int from order_items.product_id: Id of the product (dim_product).
-- column: seller_id int from order_items.seller_id: Who sold it (dim_seller).
-- column: order_date_id int from orders.order_date: Day of the order in UTC, as YYYYMMDD (dim_date); -1: unknown.
-- column: status string from orders.status: Where the order stands; NULL: unknown.
-- column: quantity int from order_items.quantity: How many of the product were ordered, in pieces.
-- column: unit_price decimal(10,2) from order_items.unit_price: Price of a piece when it was ordered, in euros.
-- column: amount decimal(18,2) from order_items.quantity, order_items.unit_price: Price of the line, in euros.
SELECT
    order_items.order_id,
    order_items.order_item_id,
    coalesce(orders.customer_id, -1) AS customer_id,
    order_items.product_id,
    order_items.seller_id,
    coalesce(CAST(date_format(orders.order_date, 'yyyyMMdd') AS INT), -1) AS order_date_id,
    orders.status,
    order_items.quantity,
    order_items.unit_price,
    CAST(order_items.quantity * order_items.unit_price AS DECIMAL(18, 2)) AS amount,
    orders.order_date AS _ordered_at
FROM order_items
LEFT JOIN orders ON orders.order_id = order_items.order_id
