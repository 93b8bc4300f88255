-- The products. The source knows no more of them than that they were ordered.
-- kind: dimension
-- key: product_id
-- depends_on: order_details(product_id -> product_id)
-- column: product_id int from order_details.product_id: Id of the product; -1: unknown.
SELECT DISTINCT product_id
FROM order_details
