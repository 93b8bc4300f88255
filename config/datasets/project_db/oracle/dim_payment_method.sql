-- What Gold's dim_payment_method has to be, computed by the source database itself.
SELECT id AS payment_method_id, name, bank, 0 AS is_inferred
FROM payment_method
UNION ALL
SELECT orders.payment_method_id, NULL, NULL, 1
FROM orders LEFT JOIN payment_method ON payment_method.id = orders.payment_method_id
WHERE payment_method.id IS NULL AND orders.payment_method_id <> -1
GROUP BY orders.payment_method_id
