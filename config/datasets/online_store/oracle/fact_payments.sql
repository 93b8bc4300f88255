-- What Gold's fact_payments has to be, computed by the source database itself.
SELECT
    p.OrderId AS order_id,
    p.PaymentId AS payment_id,
    COALESCE(o.CustomerId, -1) AS customer_id,
    YEAR(p.CreatedAt) * 10000 + MONTH(p.CreatedAt) * 100 + DAY(p.CreatedAt) AS payment_date_id,
    p.Method AS method,
    p.Status AS status,
    p.Amount AS amount,
    p.Amount > o.TotalAmount AS is_above_order
FROM Payments AS p LEFT JOIN Orders AS o ON o.OrderId = p.OrderId
