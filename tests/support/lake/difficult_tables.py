"""Tables with one difficulty each, as databases of others have them, for MariaDB and PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_TEXT: Final = "'\U0001f600 e\u0301 \"q\" ''s'' a,b\\\\c\ttab\nline  '"


@dataclass(frozen=True, kw_only=True)
class DifficultTable:
    """A table of a foreign database.

    Attributes:
        name: name of the table, quoted as its database wants it.
        difficulty: what is difficult about it, for documents.
        columns: definitions of its columns and its key, and nothing else of the statement.
        rows: its rows, as the text after VALUES; empty for none.
        more: options at the end of the statement that creates it.
    """

    name: str
    difficulty: str
    columns: str
    rows: str = ""
    more: str = ""

    @property
    def plain_name(self) -> str:
        """The name of the table without quotes."""
        return self.name.strip('`"')

    def statements(self) -> list[str]:
        """Return the statements that create and fill the table."""
        created = f"CREATE TABLE {self.name} ({self.columns}) {self.more}"
        return [created, f"INSERT INTO {self.name} VALUES {self.rows}"] if self.rows else [created]  # noqa: S608


def _wide(type_: str, count: int = 300) -> str:
    return "id INT PRIMARY KEY, " + ", ".join(f"c{number} {type_}" for number in range(count))


MARIADB: Final = (
    DifficultTable(
        name="big_key",
        difficulty="a key beyond the signed 64 bits, whose row is put into the quarantine",
        columns="id BIGINT UNSIGNED PRIMARY KEY, n BIGINT UNSIGNED",
        rows="(18446744073709551615, 18446744073709551614), (0, NULL)",
    ),
    DifficultTable(
        name="padded_numbers",
        difficulty="`ZEROFILL` and `YEAR`, which the database shows with zeros",
        columns="id INT(8) ZEROFILL PRIMARY KEY, built YEAR, n SMALLINT(5) UNSIGNED ZEROFILL",
        rows="(42, 0, 7), (43, 1999, NULL)",
    ),
    DifficultTable(
        name="floats",
        difficulty="`FLOAT` and `DOUBLE` with all their digits",
        columns="id INT PRIMARY KEY, f FLOAT, d DOUBLE",
        rows="(1, 16777216, 3.4028234663852886e38), (2, 0.1, 1e-7), (3, -0.0, 1e22), (4, NULL, 0.1)",
    ),
    DifficultTable(
        name="decimals",
        difficulty="decimals of 38 digits",
        columns="id INT PRIMARY KEY, n DECIMAL(38, 10), z DECIMAL(5, 0)",
        rows="(1, 1234567890123456789012345678.0123456789, 0), (2, -0.0000000001, -99999)",
    ),
    DifficultTable(
        name="old_days",
        difficulty="dates of the years 1, 1582 and 9999",
        columns="id INT PRIMARY KEY, d DATE, at DATETIME(6)",
        rows="(1, '0001-01-01', '0001-01-01 00:00:00'), (2, '1582-10-10', '1582-10-10 12:00:00.000001'), "
        "(3, '9999-12-31', '9999-12-31 23:59:59.999999')",
    ),
    DifficultTable(
        name="zero_days",
        difficulty="the date 0000-00-00, with `zero_is_null` in the definition",
        columns="id INT PRIMARY KEY, zero DATE",
        rows="(1, '0000-00-00'), (2, '2025-01-01'), (3, NULL)",
    ),
    DifficultTable(
        name="zones",
        difficulty="`TIMESTAMP` beside `DATETIME`, with microseconds",
        columns="id INT PRIMARY KEY, at TIMESTAMP(6) NULL, local_at DATETIME(3) NULL, plain DATETIME NULL",
        rows="(1, '2025-03-30 02:30:00.000001', '2025-03-30 02:30:00.001', '2025-10-26 02:30:00'), "
        "(2, NULL, NULL, NULL)",
    ),
    DifficultTable(
        name="texts",
        difficulty="emoji, combining characters, quotes, a NUL, tabs, line ends and trailing spaces",
        columns="id INT PRIMARY KEY, t TEXT",
        rows=f"(1, {_TEXT}), (2, 'a\\0b'), (3, ''), (4, NULL)",
        more="CHARACTER SET utf8mb4",
    ),
    DifficultTable(
        name="latin",
        difficulty="another character set",
        columns="id VARCHAR(20) PRIMARY KEY, t VARCHAR(20)",
        rows="('café', 'naïve ÿ'), ('cafe2', '€')",
        more="CHARACTER SET latin1",
    ),
    DifficultTable(
        name="collated_key",
        difficulty="a text key that compares without case and accents",
        columns="id VARCHAR(20) PRIMARY KEY, n INT",
        rows="('Ä', 1), ('b', 2), ('ß', 3), ('x y', 4)",
        more="CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    ),
    DifficultTable(
        name="parts_of_a_key",
        difficulty="a key of a date, a decimal and a text",
        columns="on_day DATE, price DECIMAL(10, 2), code CHAR(3), n INT, PRIMARY KEY (on_day, price, code)",
        rows="('2025-01-01', 1.50, 'a', 1), ('2025-01-01', 1.50, 'b', 2), ('1582-10-10', 0, '', NULL)",
    ),
    DifficultTable(
        name="generated",
        difficulty="generated columns, stored and virtual",
        columns="id INT PRIMARY KEY, s INT AS (id * 2) STORED, v INT AS (id + 1) VIRTUAL",
        rows="(1, DEFAULT, DEFAULT), (2, DEFAULT, DEFAULT)",
    ),
    DifficultTable(
        name="invisible",
        difficulty="a column that `SELECT *` leaves out",
        columns="id INT PRIMARY KEY, n INT INVISIBLE DEFAULT 5, t VARCHAR(9)",
        rows="(1, 'a'), (2, 'b')",
    ),
    DifficultTable(
        name="versioned",
        difficulty="a table with system versioning",
        columns="id INT PRIMARY KEY, n INT",
        rows="(1, 1), (2, 2)",
        more="WITH SYSTEM VERSIONING",
    ),
    DifficultTable(
        name="parted",
        difficulty="a partitioned table",
        columns="id INT PRIMARY KEY, n INT",
        rows="(1, 1), (2, 2), (3, 3)",
        more="PARTITION BY HASH (id) PARTITIONS 2",
    ),
    DifficultTable(
        name="`order`",
        difficulty="keywords of SQL as names",
        columns="`key` INT PRIMARY KEY, `select` INT, `group` VARCHAR(9), `value` INT, `offset` INT, `row` INT",
        rows="(1, 2, 'g', 3, 4, 5)",
    ),
    DifficultTable(
        name="CamelCase",
        difficulty="capitals in names",
        columns="Id INT PRIMARY KEY, MixedCase VARCHAR(9)",
        rows="(1, 'A'), (2, 'b')",
    ),
    DifficultTable(
        name="documents",
        difficulty="JSON",
        columns="id INT PRIMARY KEY, doc JSON",
        rows="(1, '{\"a\":  [1, 2.50], \"ü\": null}'), (2, '[]'), (3, NULL)",
    ),
    DifficultTable(
        name="choices",
        difficulty="`ENUM` and `SET`, with empty values",
        columns="id INT PRIMARY KEY, e ENUM('', 'a,b', 'Ü'), s SET('x', 'y', 'z')",
        rows="(1, '', ''), (2, 'a,b', 'x,z'), (3, 'Ü', NULL)",
    ),
    DifficultTable(
        name="bits",
        difficulty="`BIT(1)`, and a `TINYINT(1)` that is 2",
        columns="id INT PRIMARY KEY, b BIT(1), t TINYINT(1)",
        rows="(1, b'1', 2), (2, b'0', 0), (3, NULL, NULL)",
    ),
    DifficultTable(
        name="pictures",
        difficulty="a blob, which is left out alone",
        columns="id INT PRIMARY KEY, picture LONGBLOB, title VARCHAR(9)",
        rows="(1, 0xFFD8, 'a'), (2, NULL, 'b')",
    ),
    DifficultTable(
        name="reserved",
        difficulty="columns named like those of the lake, which are left out alone",
        columns="id INT PRIMARY KEY, `year` INT, _rest INT, _sequence INT, _key INT, n INT",
        rows="(1, 2, 3, 4, 5, 6)",
    ),
    DifficultTable(
        name="alike",
        difficulty="a key and columns named like those of the program's queries",
        columns="version INT PRIMARY KEY, k INT, d INT, t INT, s INT, size INT, `table` INT, _position INT, "
        "reason TEXT",
        rows="(1, 2, 3, 4, 5, 6, 7, 8, 'r'), (2, 3, 4, 5, 6, 7, 8, 9, NULL)",
    ),
    DifficultTable(name="nothing", difficulty="no rows", columns="id INT PRIMARY KEY, n INT"),
    DifficultTable(name="lone_key", difficulty="no column but the key", columns="id INT PRIMARY KEY", rows="(1), (2)"),
    DifficultTable(
        name="wide", difficulty="301 columns", columns=_wide("INT NULL DEFAULT 7"), rows=f"(1{', DEFAULT' * 300})"
    ),
    DifficultTable(
        name="long_text",
        difficulty="a text of 8 MB",
        columns="id INT PRIMARY KEY, t LONGTEXT",
        rows="(1, REPEAT('ü', 4194304)), (2, 'short')",
    ),
    DifficultTable(
        name="huge_text",
        difficulty="a text of 200 MB, which is put into the quarantine with its size",
        columns="id INT PRIMARY KEY, t LONGTEXT",
        rows="(1, REPEAT('x', 209715200)), (2, 'short')",
    ),
    DifficultTable(
        name="cursors",
        difficulty="a cursor with equal times",
        columns="id INT PRIMARY KEY, updated_at TIMESTAMP(6) NOT NULL DEFAULT '2025-01-01 00:00:00' "
        "ON UPDATE CURRENT_TIMESTAMP(6)",
        rows="(1, DEFAULT), (2, DEFAULT), (3, DEFAULT)",
    ),
)

POSTGRES: Final = (
    DifficultTable(
        name="big_key",
        difficulty="the ends of 64 bits, in an identity",
        columns="id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, n bigint",
        rows="(9223372036854775807, -9223372036854775808), (0, NULL)",
    ),
    DifficultTable(
        name="floats",
        difficulty="`real` and `double precision` with all their digits, NaN and infinity",
        columns="id int PRIMARY KEY, f real, d double precision",
        rows="(1, 16777216, 3.4028234663852886e38), (2, 0.1, 1e-7), (3, -0.0, 1e22), (4, 'NaN', 'Infinity'), "
        "(5, '-Infinity', 'NaN')",
    ),
    DifficultTable(
        name="decimals",
        difficulty="decimals of 38 digits",
        columns="id int PRIMARY KEY, n numeric(38, 10), z numeric(5)",
        rows="(1, 1234567890123456789012345678.0123456789, 0), (2, -0.0000000001, -99999)",
    ),
    DifficultTable(
        name="old_days",
        difficulty="dates of the years 1, 1582 and 9999",
        columns="id int PRIMARY KEY, d date, at timestamp",
        rows="(1, '0001-01-01', '0001-01-01 00:00:00'), (2, '1582-10-10', '1582-10-10 12:00:00.000001'), "
        "(3, '9999-12-31', '9999-12-31 23:59:59.999999')",
    ),
    DifficultTable(
        name="zones",
        difficulty="times with and without a zone, times of day",
        columns="id int PRIMARY KEY, at timestamptz, local_at timestamp(3), clock time",
        rows="(1, '2025-03-30 02:30:00.000001+02', '2025-03-30 02:30:00.001', '23:59:59.5'), (2, NULL, NULL, NULL)",
    ),
    DifficultTable(
        name="texts",
        difficulty="emoji, combining characters, quotes, tabs, line ends and trailing spaces",
        columns="id int PRIMARY KEY, t text, c char(5)",
        rows=f"(1, {_TEXT}, 'ab'), (3, '', ''), (4, NULL, NULL)",
    ),
    DifficultTable(
        name="ids",
        difficulty="a key of type uuid",
        columns="id uuid PRIMARY KEY, n int",
        rows="('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 1)",
    ),
    DifficultTable(
        name="parts_of_a_key",
        difficulty="a key of a date, a decimal and a text",
        columns="on_day date, price numeric(10, 2), code char(3), n int, PRIMARY KEY (on_day, price, code)",
        rows="('2025-01-01', 1.50, 'a', 1), ('2025-01-01', 1.50, 'b', 2), ('1582-10-10', 0, '', NULL)",
    ),
    DifficultTable(
        name="generated",
        difficulty="a generated column",
        columns="id int PRIMARY KEY, s int GENERATED ALWAYS AS (id * 2) STORED",
        rows="(1, DEFAULT), (2, DEFAULT)",
    ),
    DifficultTable(
        name='"order"',
        difficulty="keywords of SQL as names",
        columns='"key" int PRIMARY KEY, "select" int, "group" text, "value" int, "offset" int, "row" int',
        rows="(1, 2, 'g', 3, 4, 5)",
    ),
    DifficultTable(
        name='"CamelCase"',
        difficulty="capitals in names",
        columns='"Id" int PRIMARY KEY, "MixedCase" text',
        rows="(1, 'A'), (2, 'b')",
    ),
    DifficultTable(
        name="documents",
        difficulty="JSON and JSONB",
        columns="id int PRIMARY KEY, plain json, doc jsonb",
        rows="(1, '{\"a\":  [1, 2.50]}', '{\"ü\": null, \"a\":  [1, 2.50]}'), (2, NULL, '[]')",
    ),
    DifficultTable(
        name="own_types",
        difficulty="an enumeration and a domain",
        columns="id int PRIMARY KEY, m mood, p price",
        rows="(1, 'so so', 12.5), (2, NULL, NULL)",
    ),
    DifficultTable(
        name="collections",
        difficulty="arrays, intervals and bytes",
        columns="id int PRIMARY KEY, a text[], i interval, b bytea",
        rows="(1, '{a,NULL,\"b,c\"}', '1 year 2 days 03:04:05.5', '\\xff00'), (2, '{}', '-1 day', NULL)",
    ),
    DifficultTable(
        name="flags",
        difficulty="booleans",
        columns="id int PRIMARY KEY, b boolean",
        rows="(1, true), (2, false), (3, NULL)",
    ),
    DifficultTable(
        name="places",
        difficulty="a type without a counterpart, which is left out alone",
        columns="id int PRIMARY KEY, at point, title text",
        rows="(1, '(1,2)', 'a')",
    ),
    DifficultTable(
        name="reserved",
        difficulty="columns named like those of the lake, which are left out alone",
        columns='id int PRIMARY KEY, "year" int, _rest int, _sequence int, _key int, n int',
        rows="(1, 2, 3, 4, 5, 6)",
    ),
    DifficultTable(
        name="alike",
        difficulty="a key and columns named like those of the program's queries",
        columns='version int PRIMARY KEY, k int, d int, t int, s int, size int, "table" int, _position int, '
        "reason text",
        rows="(1, 2, 3, 4, 5, 6, 7, 8, 'r'), (2, 3, 4, 5, 6, 7, 8, 9, NULL)",
    ),
    DifficultTable(
        name="parted",
        difficulty="a partitioned table",
        columns="id int PRIMARY KEY, n int",
        more="PARTITION BY RANGE (id); CREATE TABLE parted_all PARTITION OF parted DEFAULT; "
        "INSERT INTO parted VALUES (1, 1), (2, 2)",
    ),
    DifficultTable(name="nothing", difficulty="no rows", columns="id int PRIMARY KEY, n int"),
    DifficultTable(name="lone_key", difficulty="no column but the key", columns="id int PRIMARY KEY", rows="(1), (2)"),
    DifficultTable(
        name="wide", difficulty="301 columns", columns=_wide("int DEFAULT 7"), rows=f"(1{', DEFAULT' * 300})"
    ),
    DifficultTable(
        name="long_text",
        difficulty="a text of 8 MB",
        columns="id int PRIMARY KEY, t text",
        rows="(1, repeat('ü', 4194304)), (2, 'short')",
    ),
    DifficultTable(
        name="huge_text",
        difficulty="a text of 200 MB, which is put into the quarantine with its size",
        columns="id int PRIMARY KEY, t text",
        rows="(1, repeat('x', 209715200)), (2, 'short')",
    ),
    DifficultTable(
        name="cursors",
        difficulty="a cursor with equal times",
        columns="id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT '2025-01-01 00:00:00Z'",
        rows="(1, DEFAULT), (2, DEFAULT), (3, DEFAULT)",
    ),
)
TYPES_OF_POSTGRES: Final = "CREATE TYPE mood AS ENUM ('glad', 'so so'); CREATE DOMAIN price AS numeric(8, 2)"
