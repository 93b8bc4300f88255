-- The customers. One that orders name before it is there is inferred: its id, and nothing else yet.
-- kind: dimension
-- key: customer_id
-- depends_on: customers(customer_id -> customer_id)
-- inferred_from: orders.customer_id
-- column: customer_id int from customers.customer_id, orders.customer_id: Id of the customer; -1: unknown.
-- column: name string from customers.name: Name of the customer, personal data.
-- column: email string from customers.email: E-mail address, personal data.
-- column: phone_number string from customers.phone_number: Telephone number, personal data; NULL: none was given.
-- column: country string from customers.country: Country of the customer, as two letters (ISO 3166).
-- column: created_at timestamp from customers.created_at: When the customer was entered, in UTC.
SELECT customer_id, name, email, phone_number, country, created_at
FROM customers
