-- An order joined with its product lines, when there are as many as it has to have. {name} is an argument of the program.
-- Flink writes an order again when a row of it changes afterwards. The benchmark has no such rows.

CREATE TABLE orders (
  id STRING,
  customer_id INT,
  store_id INT,
  payment_method_id INT,
  num_products INT,
  PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'kafka',
  'topic' = '{orders}',
  'format' = 'debezium-json',
  'scan.startup.mode' = 'earliest-offset',
  'properties.bootstrap.servers' = '{bootstrap}',
  'properties.group.id' = '{group}',
  'properties.isolation.level' = 'read_committed',
  'properties.max.poll.records' = '5000',
  'properties.interceptor.classes' = 'bench.FirstRead',
  'properties.bench.mark' = '{mark}'
);

CREATE TABLE order_details (
  order_id STRING,
  product_id INT,
  quantity INT,
  PRIMARY KEY (order_id, product_id) NOT ENFORCED
) WITH (
  'connector' = 'kafka',
  'topic' = '{details}',
  'format' = 'debezium-json',
  'scan.startup.mode' = 'earliest-offset',
  'properties.bootstrap.servers' = '{bootstrap}',
  'properties.group.id' = '{group}',
  'properties.isolation.level' = 'read_committed',
  'properties.max.poll.records' = '5000',
  'properties.interceptor.classes' = 'bench.FirstRead',
  'properties.bench.mark' = '{mark}'
);

CREATE TABLE order_final (
  order_id STRING,
  customer_id INT,
  store_id INT,
  payment_method_id INT,
  num_products INT,
  products ARRAY<ROW<product_id INT, quantity INT>>,
  PRIMARY KEY (order_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka',
  'topic' = '{output}',
  'key.format' = 'raw',
  'value.format' = 'json',
  'sink.delivery-guarantee' = '{mode}',
  'sink.transactional-id-prefix' = '{group}',
  'sink.transaction-naming-strategy' = 'pooling',
  'properties.bootstrap.servers' = '{bootstrap}',
  'properties.transaction.timeout.ms' = '60000',
  'properties.linger.ms' = '20',
  'properties.batch.size' = '262144',
  'properties.compression.type' = 'lz4'
);

INSERT INTO order_final
SELECT o.id, o.customer_id, o.store_id, o.payment_method_id, o.num_products, d.products
FROM orders AS o
JOIN (
  SELECT
    order_id,
    COUNT(*) AS lines,
    ARRAY_AGG(CAST(ROW(product_id, quantity) AS ROW<product_id INT, quantity INT>)) AS products
  FROM order_details
  GROUP BY order_id
) AS d ON d.order_id = o.id
WHERE d.lines >= o.num_products;
