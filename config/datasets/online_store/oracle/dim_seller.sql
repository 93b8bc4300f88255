-- What Gold's dim_seller has to be, computed by the source database itself.
SELECT SellerId AS seller_id, Name AS name, Country AS country, Rating AS rating, CreatedAt AS created_at,
       0 AS is_inferred
FROM Sellers
UNION ALL
SELECT i.SellerId, NULL, NULL, NULL, NULL, 1
FROM OrderItems AS i LEFT JOIN Sellers AS s ON s.SellerId = i.SellerId
WHERE s.SellerId IS NULL AND i.SellerId <> -1
GROUP BY i.SellerId
