-- What Gold's product_performance has to be, computed by the source database itself.
SELECT p.id AS product_id, p.category, coalesce(s.pieces, 0) AS pieces,
       coalesce(s.revenue, 0)::numeric(18, 2) AS revenue,
       CASE WHEN s.revenue >= :top_from THEN 'top' WHEN s.revenue >= :steady_from THEN 'steady' ELSE 'slow' END AS class
FROM products AS p
LEFT JOIN (
    SELECT i.product_id, sum(i.quantity) AS pieces, sum(i.quantity * i.unit_price) AS revenue
    FROM order_items AS i JOIN orders AS o ON o.id = i.order_id
    WHERE o.status NOT IN ('cancelled', 'returned')
    GROUP BY i.product_id
) AS s ON s.product_id = p.id
