-- What was sold of each category, without cancelled orders; unknown: the product is not there.
-- kind: fact
-- key: category
-- depends_on: orders, order_items, products
-- column: category string from products.category, products.product_id, order_items.product_id: Kind of product.
-- column: orders bigint from orders.order_id, order_items.order_id, orders.status: Number of orders with such a product.
-- column: pieces bigint from order_items.quantity: Number of pieces.
-- column: revenue decimal(18,2) from order_items.quantity, order_items.unit_price: Price of these lines, in euros.
SELECT
    coalesce(products.category, 'unknown') AS category,
    count(DISTINCT orders.order_id) AS orders,
    sum(order_items.quantity) AS pieces,
    CAST(sum(order_items.quantity * order_items.unit_price) AS DECIMAL(18, 2)) AS revenue
FROM orders
JOIN order_items ON order_items.order_id = orders.order_id
LEFT JOIN products ON products.product_id = order_items.product_id
WHERE orders.status <> 'cancelled'
GROUP BY 1
