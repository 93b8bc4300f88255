-- The products. One that lines name before it is there is inferred: its id, and nothing else yet.
-- kind: dimension
-- key: product_id
-- depends_on: products(product_id -> product_id)
-- inferred_from: order_items.product_id
-- column: product_id int from products.product_id, order_items.product_id: Id of the product; -1: unknown.
-- column: seller_id int from products.seller_id: Who sells it (dim_seller).
-- column: name string from products.name: What it is called.
-- column: category string from products.category: Kind of product.
-- column: price decimal(10,2) from products.price: Price of a piece, in euros.
-- column: created_at timestamp from products.created_at: When the product was entered, in UTC.
SELECT product_id, seller_id, name, category, price, created_at
FROM products
