-- What Gold's dim_customer has to be, computed by the source database itself.
SELECT id AS customer_id, name, email, phone, tier, created_at, updated_at, 0 AS is_inferred
FROM customers
UNION ALL
SELECT orders.customer_id, NULL, NULL, NULL, NULL, NULL, NULL, 1
FROM orders LEFT JOIN customers ON customers.id = orders.customer_id
WHERE customers.id IS NULL AND orders.customer_id <> -1
GROUP BY orders.customer_id
