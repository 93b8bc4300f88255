-- What Gold's payments_by_method has to be, computed by the source database itself.
SELECT Method AS method, Status AS status, COUNT(*) AS payments, CAST(SUM(Amount) AS DECIMAL(18, 2)) AS amount
FROM Payments
GROUP BY Method, Status
