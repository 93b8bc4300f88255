-- What Gold's revenue_by_day has to be, computed by the source database itself.
SELECT to_char(created_at, 'YYYYMMDD')::integer AS order_date_id, count(*) AS orders,
       sum(total)::numeric(18, 2) AS revenue
FROM orders
WHERE status NOT IN ('cancelled', 'returned')
GROUP BY 1
