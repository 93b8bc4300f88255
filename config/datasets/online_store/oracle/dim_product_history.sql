-- What Gold's dim_product_history has to be, computed by the source database itself.
-- Compared are the versions that are current.
SELECT ProductId AS product_id, SellerId AS seller_id, Name AS name, Category AS category, Price AS price,
       CreatedAt AS created_at
FROM Products
