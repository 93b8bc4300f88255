-- What Gold's returns_by_reason has to be, computed by the source database itself.
SELECT Kind AS kind, Reason AS reason, COUNT(*) AS returns, SUM(Quantity) AS pieces,
       CAST(SUM(Amount) AS DECIMAL(18, 2)) AS amount
FROM Reasons
GROUP BY Kind, Reason
