-- What Gold's fact_order_products has to be, computed by the source database itself.
SELECT
    line.order_id,
    line.product_id,
    line.quantity,
    COALESCE(o.customer_id, -1) AS customer_id,
    COALESCE(o.payment_method_id, -1) AS payment_method_id,
    COALESCE(YEAR(o.`timestamp`) * 10000 + MONTH(o.`timestamp`) * 100 + DAY(o.`timestamp`), -1) AS order_date_id
FROM order_details AS line LEFT JOIN orders AS o ON o.id = line.order_id
