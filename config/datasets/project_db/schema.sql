-- The shop's tables, for MySQL 8 and MariaDB.
--
-- There are no foreign keys, on purpose: the details of an order may arrive before the order itself, in their own
-- transaction, and rows are deleted in any order. A foreign key would forbid histories that the stream has to handle.
--
-- Order ids are ASCII and compared byte by byte. They become the keys of topics, where "A" and "a" differ; a
-- collation that ignores case would join rows here that never meet there.

CREATE TABLE IF NOT EXISTS orders (
    id                CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    customer_id       INT NOT NULL,
    store_id          INT NOT NULL,
    payment_method_id INT NOT NULL,
    num_products      INT NOT NULL,
    `timestamp`       DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    KEY orders_timestamp (`timestamp`)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS order_details (
    order_id   CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    product_id INT NOT NULL,
    quantity   INT NOT NULL,
    PRIMARY KEY (order_id, product_id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS customers (
    id         INT NOT NULL,
    name       VARCHAR(100) NOT NULL,
    email      VARCHAR(254) NOT NULL,
    phone      VARCHAR(32) NULL,
    tier       VARCHAR(16) NOT NULL,
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    KEY customers_updated_at (updated_at)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS payment_method (
    id   INT NOT NULL,
    name VARCHAR(50) NOT NULL,
    bank VARCHAR(100) NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB;
