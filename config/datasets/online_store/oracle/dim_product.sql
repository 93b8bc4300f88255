-- What Gold's dim_product has to be, computed by the source database itself.
SELECT ProductId AS product_id, SellerId AS seller_id, Name AS name, Category AS category, Price AS price,
       CreatedAt AS created_at, 0 AS is_inferred
FROM Products
UNION ALL
SELECT i.ProductId, NULL, NULL, NULL, NULL, NULL, 1
FROM OrderItems AS i LEFT JOIN Products AS p ON p.ProductId = i.ProductId
WHERE p.ProductId IS NULL AND i.ProductId <> -1
GROUP BY i.ProductId
