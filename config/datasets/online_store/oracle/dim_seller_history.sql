-- What Gold's dim_seller_history has to be, computed by the source database itself.
-- Compared are the versions that are current.
SELECT SellerId AS seller_id, Name AS name, Country AS country, Rating AS rating, CreatedAt AS created_at
FROM Sellers
