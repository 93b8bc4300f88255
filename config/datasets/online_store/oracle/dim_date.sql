-- What Gold's dim_date has to be, computed by the source database itself: the days of all years in which there is an
-- order, counted out with five digits.
WITH digits AS (
    SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
    UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9
),
years AS (
    SELECT MAKEDATE(YEAR(MIN(OrderDate)), 1) AS first_day, YEAR(MAX(OrderDate)) AS last_year FROM Orders
),
days AS (
    SELECT DATE_ADD(years.first_day, INTERVAL (a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n) DAY) AS `date`,
           years.last_year
    FROM years, digits AS a, digits AS b, digits AS c, digits AS d, digits AS e
)
SELECT
    YEAR(`date`) * 10000 + MONTH(`date`) * 100 + DAY(`date`) AS date_id,
    `date`,
    YEAR(`date`) AS `year`,
    QUARTER(`date`) AS `quarter`,
    MONTH(`date`) AS `month`,
    MONTHNAME(`date`) AS month_name,
    WEEK(`date`, 3) AS week,
    DAY(`date`) AS `day`,
    WEEKDAY(`date`) + 1 AS day_of_week,
    DAYNAME(`date`) AS day_name,
    WEEKDAY(`date`) >= 5 AS is_weekend
FROM days
WHERE YEAR(`date`) <= last_year
