"""The order pipeline on real servers: MariaDB, Debezium, Kafka and Faust workers."""
