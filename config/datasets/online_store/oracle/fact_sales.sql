-- What Gold's fact_sales has to be, computed by the source database itself.
SELECT
    i.OrderId AS order_id,
    i.OrderItemId AS order_item_id,
    COALESCE(o.CustomerId, -1) AS customer_id,
    i.ProductId AS product_id,
    i.SellerId AS seller_id,
    COALESCE(YEAR(o.OrderDate) * 10000 + MONTH(o.OrderDate) * 100 + DAY(o.OrderDate), -1) AS order_date_id,
    o.Status AS status,
    i.Quantity AS quantity,
    i.UnitPrice AS unit_price,
    CAST(i.Quantity * i.UnitPrice AS DECIMAL(18, 2)) AS amount
FROM OrderItems AS i LEFT JOIN Orders AS o ON o.OrderId = i.OrderId
