-- The sellers. One that lines name before it is there is inferred: its id, and nothing else yet.
-- kind: dimension
-- key: seller_id
-- depends_on: sellers(seller_id -> seller_id)
-- inferred_from: order_items.seller_id
-- column: seller_id int from sellers.seller_id, order_items.seller_id: Id of the seller; -1: unknown.
-- column: name string from sellers.name: Name of the seller.
-- column: country string from sellers.country: Country of the seller, as two letters (ISO 3166).
-- column: rating decimal(3,2) from sellers.rating: Average rating by customers, from 0 to 5 stars.
-- column: created_at timestamp from sellers.created_at: When the seller was entered, in UTC.
SELECT seller_id, name, country, rating, created_at
FROM sellers
