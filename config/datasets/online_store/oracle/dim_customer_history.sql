-- What Gold's dim_customer_history has to be, computed by the source database itself.
-- Compared are the versions that are current.
SELECT CustomerId AS customer_id, Name AS name, Email AS email, PhoneNumber AS phone_number, Country AS country,
       CreatedAt AS created_at
FROM Customers
