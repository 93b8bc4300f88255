-- What Gold's sales_by_category has to be, computed by the source database itself.
SELECT
    COALESCE(p.Category, 'unknown') AS category,
    COUNT(DISTINCT o.OrderId) AS orders,
    SUM(i.Quantity) AS pieces,
    CAST(SUM(i.Quantity * i.UnitPrice) AS DECIMAL(18, 2)) AS revenue
FROM Orders AS o
JOIN OrderItems AS i ON i.OrderId = o.OrderId
LEFT JOIN Products AS p ON p.ProductId = i.ProductId
WHERE o.Status <> 'cancelled'
GROUP BY 1
