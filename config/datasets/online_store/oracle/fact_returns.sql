-- What Gold's fact_returns has to be, computed by the source database itself.
SELECT
    r.OrderItemId AS order_item_id,
    r.ReasonId AS reason_id,
    i.OrderId AS order_id,
    COALESCE(i.ProductId, -1) AS product_id,
    COALESCE(i.SellerId, -1) AS seller_id,
    YEAR(r.CreatedAt) * 10000 + MONTH(r.CreatedAt) * 100 + DAY(r.CreatedAt) AS return_date_id,
    r.Kind AS kind,
    r.Reason AS reason,
    r.Quantity AS quantity,
    r.Amount AS amount
FROM Reasons AS r LEFT JOIN OrderItems AS i ON i.OrderItemId = r.OrderItemId
