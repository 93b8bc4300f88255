-- What each seller sold, without cancelled orders.
-- kind: fact
-- key: seller_id
-- depends_on: orders, order_items(seller_id -> seller_id)
-- column: seller_id int from order_items.seller_id: Id of the seller (dim_seller).
-- column: orders bigint from orders.order_id, order_items.order_id, orders.status: Number of orders with a line of the seller.
-- column: pieces bigint from order_items.quantity: Number of pieces.
-- column: revenue decimal(18,2) from order_items.quantity, order_items.unit_price: Price of these lines, in euros.
SELECT
    order_items.seller_id,
    count(DISTINCT orders.order_id) AS orders,
    sum(order_items.quantity) AS pieces,
    CAST(sum(order_items.quantity * order_items.unit_price) AS DECIMAL(18, 2)) AS revenue
FROM orders
JOIN order_items ON order_items.order_id = orders.order_id
WHERE orders.status <> 'cancelled'
GROUP BY order_items.seller_id
