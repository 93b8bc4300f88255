-- What Gold's fact_orders has to be, computed by the source database itself.
SELECT
    id AS order_id,
    customer_id,
    payment_method_id,
    store_id,
    num_products,
    `timestamp` AS ordered_at,
    YEAR(`timestamp`) * 10000 + MONTH(`timestamp`) * 100 + DAY(`timestamp`) AS order_date_id
FROM orders
