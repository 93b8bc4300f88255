-- What Gold's dim_customer has to be, computed by the source database itself.
SELECT CustomerId AS customer_id, Name AS name, Email AS email, PhoneNumber AS phone_number, Country AS country,
       CreatedAt AS created_at, 0 AS is_inferred
FROM Customers
UNION ALL
SELECT o.CustomerId, NULL, NULL, NULL, NULL, NULL, 1
FROM Orders AS o LEFT JOIN Customers AS c ON c.CustomerId = o.CustomerId
WHERE c.CustomerId IS NULL AND o.CustomerId <> -1
GROUP BY o.CustomerId
