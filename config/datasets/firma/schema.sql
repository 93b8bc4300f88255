-- The tables of a company, for PostgreSQL 14 and later: its customers, employees and projects, as its files have them.
--
-- All tables have REPLICA IDENTITY FULL, so that the log tells whole rows before a change.

CREATE TABLE IF NOT EXISTS klienci (
    id      integer PRIMARY KEY,
    nazwa   varchar(120) NOT NULL,
    email   varchar(254) NOT NULL,
    kraj    varchar(60),
    telefon varchar(32)
);

CREATE TABLE IF NOT EXISTS pracownicy (
    id         integer PRIMARY KEY,
    imie       varchar(60) NOT NULL,
    nazwisko   varchar(80) NOT NULL,
    email      varchar(254) NOT NULL,
    wiek       integer,
    stanowisko varchar(60)
);

CREATE TABLE IF NOT EXISTS projekty (
    id                integer PRIMARY KEY,
    nazwa             varchar(120) NOT NULL,
    opis              text,
    data_rozpoczecia  date NOT NULL,
    data_zakonczenia  date
);

ALTER TABLE klienci REPLICA IDENTITY FULL;
ALTER TABLE pracownicy REPLICA IDENTITY FULL;
ALTER TABLE projekty REPLICA IDENTITY FULL;
