-- What Gold's dim_product has to be, computed by the source database itself.
SELECT product_id
FROM order_details
GROUP BY product_id
