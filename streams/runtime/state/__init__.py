"""Storage of a partition's state: its RocksDB store, its changelog, its timers and its encoding."""
