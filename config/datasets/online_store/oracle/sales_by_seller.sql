-- What Gold's sales_by_seller has to be, computed by the source database itself.
SELECT
    i.SellerId AS seller_id,
    COUNT(DISTINCT o.OrderId) AS orders,
    SUM(i.Quantity) AS pieces,
    CAST(SUM(i.Quantity * i.UnitPrice) AS DECIMAL(18, 2)) AS revenue
FROM Orders AS o JOIN OrderItems AS i ON i.OrderId = o.OrderId
WHERE o.Status <> 'cancelled'
GROUP BY i.SellerId
