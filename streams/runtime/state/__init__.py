"""The state of a partition: in RocksDB, in its changelog, and as bytes."""
