-- The customers. One that orders name before it is there is inferred: its id, and nothing else yet.
-- kind: dimension
-- key: customer_id
-- depends_on: customers(id -> customer_id)
-- inferred_from: orders.customer_id
-- column: customer_id int from customers.id, orders.customer_id: Id of the customer; -1: unknown.
-- column: name string from customers.name: Name of the customer.
-- column: email string from customers.email: E-mail address, personal data.
-- column: phone string from customers.phone: Telephone number, personal data; NULL: none was given.
-- column: tier string from customers.tier: Standing of the customer with the shop.
-- column: created_at timestamp from customers.created_at: When the customer was entered, in UTC.
-- column: updated_at timestamp from customers.updated_at: When the customer was last changed, in UTC.
SELECT id AS customer_id, name, email, phone, tier, created_at, updated_at
FROM customers
