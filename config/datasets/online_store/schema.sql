-- The tables of a marketplace, for MySQL 8 and MariaDB: sellers offer products, customers order and pay them, and give
-- reasons when they send something back.
--
-- There are no foreign keys, on purpose: rows are deleted in any order, and a payment or a return of something unknown
-- is a finding of the lake's quality rules, not an error that loses the row.
--
-- The server keeps UpdatedAt, in the time zone of the session, which every program sets to UTC.

CREATE TABLE IF NOT EXISTS Customers (
    CustomerId  INT NOT NULL,
    Name        VARCHAR(100) NOT NULL,
    Email       VARCHAR(254) NOT NULL,
    PhoneNumber VARCHAR(32) NULL,
    Country     VARCHAR(2) NOT NULL,
    CreatedAt   DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UpdatedAt   DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (CustomerId),
    KEY CustomersUpdatedAt (UpdatedAt)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS Sellers (
    SellerId  INT NOT NULL,
    Name      VARCHAR(100) NOT NULL,
    Country   VARCHAR(2) NOT NULL,
    Rating    DECIMAL(3, 2) NOT NULL,
    CreatedAt DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UpdatedAt DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (SellerId),
    KEY SellersUpdatedAt (UpdatedAt)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS Products (
    ProductId INT NOT NULL,
    SellerId  INT NOT NULL,
    Name      VARCHAR(100) NOT NULL,
    Category  VARCHAR(40) COLLATE utf8mb4_bin NOT NULL,
    Price     DECIMAL(10, 2) NOT NULL,
    CreatedAt DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UpdatedAt DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (ProductId),
    KEY ProductsUpdatedAt (UpdatedAt)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS Orders (
    OrderId     CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    CustomerId  INT NOT NULL,
    Status      VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
    TotalAmount DECIMAL(12, 2) NOT NULL,
    OrderDate   DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UpdatedAt   DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (OrderId),
    KEY OrdersUpdatedAt (UpdatedAt)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS OrderItems (
    OrderItemId CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    OrderId     CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    ProductId   INT NOT NULL,
    SellerId    INT NOT NULL,
    Quantity    INT NOT NULL,
    UnitPrice   DECIMAL(10, 2) NOT NULL,
    PRIMARY KEY (OrderItemId),
    KEY OrderItemsOrderId (OrderId)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS Payments (
    PaymentId CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    OrderId   CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    Method    VARCHAR(32) COLLATE utf8mb4_bin NOT NULL,
    Status    VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
    Amount    DECIMAL(12, 2) NOT NULL,
    CreatedAt DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    UpdatedAt DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    PRIMARY KEY (PaymentId),
    KEY PaymentsOrderId (OrderId),
    KEY PaymentsUpdatedAt (UpdatedAt)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS Reasons (
    ReasonId    CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    OrderItemId CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    Kind        VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
    Reason      VARCHAR(40) COLLATE utf8mb4_bin NOT NULL,
    Quantity    INT NOT NULL,
    Amount      DECIMAL(12, 2) NOT NULL,
    CreatedAt   DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (ReasonId),
    KEY ReasonsOrderItemId (OrderItemId)
) ENGINE = InnoDB;
