-- What Gold's segment_totals has to be, computed by the source database itself.
SELECT segment, count(*) AS customers, sum(revenue)::numeric(18, 2) AS revenue
FROM (
    SELECT coalesce(sum(o.total), 0) AS revenue,
           CASE WHEN coalesce(sum(o.total), 0) >= :gold_from THEN 'Gold'
                WHEN coalesce(sum(o.total), 0) >= :silver_from THEN 'Silver' ELSE 'Bronze' END AS segment
    FROM customers AS c
    LEFT JOIN orders AS o ON o.customer_id = c.id AND o.status NOT IN ('cancelled', 'returned')
    GROUP BY c.id
) AS bought
GROUP BY segment
