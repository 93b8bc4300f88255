-- Why lines were sent back or refunded.
-- kind: fact
-- key: kind, reason
-- depends_on: reasons(kind -> kind, reason -> reason)
-- column: kind string from reasons.kind: What it is: return or refund.
-- column: reason string from reasons.reason: Why, such as damaged or too late.
-- column: returns bigint from reasons.reason_id: How often.
-- column: pieces bigint from reasons.quantity: Number of pieces.
-- column: amount decimal(18,2) from reasons.amount: What customers get back, in euros.
SELECT kind, reason, count(reason_id) AS returns, sum(quantity) AS pieces, CAST(sum(amount) AS DECIMAL(18, 2)) AS amount
FROM reasons
GROUP BY kind, reason
