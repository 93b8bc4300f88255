-- How many customers each country has; those without a country are a group of their own.
-- kind: fact
-- key: kraj
-- depends_on: klienci(kraj -> kraj)
-- export: klienci-by-country
-- column: kraj string from klienci.kraj: Country of the customers; NULL: none was given.
-- column: liczba_klientow bigint from klienci.id: Number of customers.
SELECT kraj, count(id) AS liczba_klientow
FROM klienci
GROUP BY kraj
