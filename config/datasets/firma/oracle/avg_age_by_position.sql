-- What Gold's avg_age_by_position has to be, computed by the source database itself.
SELECT
    stanowisko,
    wiek IS NOT NULL AS wiek_znany,
    round(avg(wiek), 2) AS sredni_wiek,
    count(*) AS liczba_pracownikow
FROM pracownicy
GROUP BY stanowisko, wiek IS NOT NULL
