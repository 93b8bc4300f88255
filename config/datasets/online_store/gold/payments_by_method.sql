-- The payments by method and state.
-- kind: fact
-- key: method, status
-- depends_on: payments(method -> method, status -> status)
-- column: method string from payments.method: How it is paid.
-- column: status string from payments.status: Where it stands: pending, paid, failed or refunded.
-- column: payments bigint from payments.payment_id: Number of payments.
-- column: amount decimal(18,2) from payments.amount: Sum of the amounts, in euros.
SELECT method, status, count(payment_id) AS payments, CAST(sum(amount) AS DECIMAL(18, 2)) AS amount
FROM payments
GROUP BY method, status
