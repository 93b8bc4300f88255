-- The average age of employees by position; those without an age are a group of their own.
-- kind: fact
-- key: stanowisko, wiek_znany
-- depends_on: pracownicy(stanowisko -> stanowisko)
-- export: avg-age-by-position
-- column: stanowisko string from pracownicy.stanowisko: Position in the company; NULL: none was given.
-- column: wiek_znany boolean from pracownicy.wiek: Whether the age of these employees is known.
-- column: sredni_wiek decimal(5,2) from pracownicy.wiek: Average age in years; NULL: not known.
-- column: liczba_pracownikow bigint from pracownicy.id: Number of employees.
SELECT
    stanowisko,
    wiek IS NOT NULL AS wiek_znany,
    CAST(round(CAST(sum(wiek) AS DECIMAL(18, 4)) / nullif(count(wiek), 0), 2) AS DECIMAL(5, 2)) AS sredni_wiek,
    count(id) AS liczba_pracownikow
FROM pracownicy
GROUP BY stanowisko, wiek IS NOT NULL
