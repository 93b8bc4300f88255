-- The days (UTC) of every year in which there is an order. date_id is YYYYMMDD; weeks are those of ISO 8601.
-- kind: dimension
-- key: date_id
-- depends_on: orders
-- column: date_id int from orders.order_date: The day as the number YYYYMMDD; -1: unknown.
-- column: date date from orders.order_date: The day, in UTC.
-- column: year int from orders.order_date: Year of the day.
-- column: quarter int from orders.order_date: Quarter of the year, 1 to 4.
-- column: month int from orders.order_date: Month of the year, 1 to 12.
-- column: month_name string from orders.order_date: Name of the month in English.
-- column: week int from orders.order_date: Week by ISO 8601, 1 to 53; early January may still be in week 52 or 53.
-- column: day int from orders.order_date: Day of the month, 1 to 31.
-- column: day_of_week int from orders.order_date: Day of the week, 1 (Monday) to 7 (Sunday).
-- column: day_name string from orders.order_date: Name of the day in English.
-- column: is_weekend boolean from orders.order_date: Whether the day is a Saturday or a Sunday.
WITH years AS (
    SELECT year(min(order_date)) AS first, year(max(order_date)) AS last FROM orders
),
days AS (
    SELECT explode(sequence(make_date(first, 1, 1), make_date(last, 12, 31))) AS date FROM years
)
SELECT
    CAST(date_format(date, 'yyyyMMdd') AS INT) AS date_id,
    date,
    year(date) AS year,
    quarter(date) AS quarter,
    month(date) AS month,
    date_format(date, 'MMMM') AS month_name,
    weekofyear(date) AS week,
    day(date) AS day,
    weekday(date) + 1 AS day_of_week,
    date_format(date, 'EEEE') AS day_name,
    weekday(date) >= 5 AS is_weekend
FROM days
