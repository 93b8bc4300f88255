-- The ways to pay.
-- kind: dimension
-- key: payment_method_id
-- depends_on: payment_method(id -> payment_method_id)
-- inferred_from: orders.payment_method_id
-- column: payment_method_id int from payment_method.id, orders.payment_method_id: Id of the way to pay; -1: unknown.
-- column: name string from payment_method.name: What it is called.
-- column: bank string from payment_method.bank: Bank behind it.
SELECT id AS payment_method_id, name, bank
FROM payment_method
