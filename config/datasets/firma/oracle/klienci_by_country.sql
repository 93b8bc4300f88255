-- What Gold's klienci_by_country has to be, computed by the source database itself.
SELECT kraj, count(*) AS liczba_klientow
FROM klienci
GROUP BY kraj
