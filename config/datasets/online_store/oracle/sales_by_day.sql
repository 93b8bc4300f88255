-- What Gold's sales_by_day has to be, computed by the source database itself.
SELECT
    YEAR(o.OrderDate) * 10000 + MONTH(o.OrderDate) * 100 + DAY(o.OrderDate) AS order_date_id,
    COUNT(DISTINCT o.OrderId) AS orders,
    SUM(i.Quantity) AS pieces,
    CAST(SUM(i.Quantity * i.UnitPrice) AS DECIMAL(18, 2)) AS revenue
FROM Orders AS o JOIN OrderItems AS i ON i.OrderId = o.OrderId
WHERE o.Status <> 'cancelled'
GROUP BY 1
