-- What each product has sold, without cancelled and returned orders, and the class that follows from it.
-- kind: fact
-- key: product_id
-- depends_on: products(id -> product_id), order_items(product_id -> product_id), orders
-- redis: rows
-- column: product_id int from products.id: Id of the product.
-- column: category string from products.category: Kind of product.
-- column: pieces bigint from order_items.quantity, order_items.order_id, orders.id, orders.status: Number of pieces.
-- column: revenue decimal(18,2) from order_items.quantity, order_items.unit_price: Price of all lines, in euros.
-- column: class string from order_items.quantity, order_items.unit_price: top, steady or slow, by the parameters top_from and steady_from.
WITH sold AS (
    SELECT
        order_items.product_id,
        sum(order_items.quantity) AS pieces,
        CAST(sum(order_items.quantity * order_items.unit_price) AS DECIMAL(18, 2)) AS revenue
    FROM order_items
    JOIN orders ON orders.id = order_items.order_id
    WHERE orders.status NOT IN ('cancelled', 'returned')
    GROUP BY order_items.product_id
)
SELECT
    products.id AS product_id,
    products.category,
    coalesce(sold.pieces, 0) AS pieces,
    CAST(coalesce(sold.revenue, 0) AS DECIMAL(18, 2)) AS revenue,
    CASE WHEN sold.revenue >= :top_from THEN 'top' WHEN sold.revenue >= :steady_from THEN 'steady' ELSE 'slow' END AS class
FROM products
LEFT JOIN sold ON sold.product_id = products.id
