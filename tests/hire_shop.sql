-- A shop that hires out musical instruments: a schema that is not ours, with what foreign schemas have.
--
-- Its shape is that of Sakila, the film rental that MySQL ships as a sample: a `last_update` that the server writes in
-- almost every table, keys of two columns between things and their makers (film_actor), branches and clerks that refer
-- to each other (store, staff), a year, a set, an enum, prices in decimals, a picture, a place on the map, views, and a
-- table of texts for searching (film_text). The names are of our own, and some are made to be awkward.

CREATE TABLE maker (
    maker_id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(60) NOT NULL COMMENT 'As on the label; "&" and: colons happen',
    last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    KEY maker_changed (last_update)
) COMMENT 'Who built an instrument';

CREATE TABLE instrument (
    instrument_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    `on` TINYINT(1) NOT NULL DEFAULT 1,
    title VARCHAR(128) NOT NULL,
    story TEXT,
    built YEAR,
    family ENUM('strings', 'wind', 'percussion') NOT NULL,
    extras SET('case', 'bow', 'stand'),
    day_rate DECIMAL(5, 2) NOT NULL,
    weight FLOAT,
    is_tuned BIT(1) NOT NULL DEFAULT b'0',
    serial BIGINT UNSIGNED,
    bought DATE,
    created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    last_update TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
);

CREATE TABLE instrument_maker (
    instrument_id INT UNSIGNED NOT NULL,
    maker_id SMALLINT UNSIGNED NOT NULL,
    PRIMARY KEY (instrument_id, maker_id),
    CONSTRAINT of_instrument FOREIGN KEY (instrument_id) REFERENCES instrument (instrument_id),
    CONSTRAINT of_maker FOREIGN KEY (maker_id) REFERENCES maker (maker_id)
);

CREATE TABLE branch (
    branch_id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
    head_clerk_id TINYINT UNSIGNED,
    modified_on DATETIME NOT NULL,
    KEY branch_modified (modified_on)
);

CREATE TABLE clerk (
    clerk_id TINYINT UNSIGNED NOT NULL PRIMARY KEY,
    branch_id TINYINT UNSIGNED NOT NULL,
    email VARCHAR(254) CHARACTER SET ascii,
    updated_at DATETIME NULL ON UPDATE CURRENT_TIMESTAMP,
    CONSTRAINT at_branch FOREIGN KEY (branch_id) REFERENCES branch (branch_id) ON DELETE CASCADE
);
ALTER TABLE branch ADD CONSTRAINT led_by FOREIGN KEY (head_clerk_id) REFERENCES clerk (clerk_id);

CREATE TABLE hire (
    hire_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    instrument_id INT UNSIGNED NOT NULL,
    clerk_id TINYINT UNSIGNED NOT NULL,
    hired_at DATETIME NOT NULL,
    returned_at DATETIME,
    note JSON,
    last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    CONSTRAINT hired FOREIGN KEY (instrument_id) REFERENCES instrument (instrument_id),
    CONSTRAINT handed_out_by FOREIGN KEY (clerk_id) REFERENCES clerk (clerk_id)
);

-- What no definition can have:
CREATE TABLE visit_log (seen_at DATETIME NOT NULL, page VARCHAR(200) NOT NULL);
CREATE TABLE picture (instrument_id INT UNSIGNED NOT NULL PRIMARY KEY, image MEDIUMBLOB NOT NULL, place POINT);
CREATE TABLE `opening hours` (id INT NOT NULL PRIMARY KEY, `von-bis` VARCHAR(20) NOT NULL);
CREATE TABLE takings (day DATE NOT NULL PRIMARY KEY, total DECIMAL(60, 2) NOT NULL);
CREATE TABLE pitch (hertz DOUBLE NOT NULL PRIMARY KEY);
CREATE VIEW hired_out AS SELECT instrument_id FROM hire WHERE returned_at IS NULL;
