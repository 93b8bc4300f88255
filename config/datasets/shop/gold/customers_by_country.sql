-- The customers and their orders by country.
-- kind: fact
-- key: country
-- depends_on: customers, orders
-- redis: rows
-- column: country string from customers.country: Country of the customers, as two letters (ISO 3166).
-- column: customers bigint from customers.id: Number of customers.
-- column: orders bigint from orders.id, orders.customer_id, orders.status: Number of orders, without cancelled and returned ones.
-- column: revenue decimal(18,2) from orders.total: Sum of these orders, in euros.
SELECT
    customers.country,
    count(DISTINCT customers.id) AS customers,
    count(orders.id) AS orders,
    CAST(coalesce(sum(orders.total), 0) AS DECIMAL(18, 2)) AS revenue
FROM customers
LEFT JOIN orders ON orders.customer_id = customers.id AND orders.status NOT IN ('cancelled', 'returned')
GROUP BY customers.country
