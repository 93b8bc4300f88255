"""The lock guard: Redis decides which orders may be emitted here; it is asked once for a whole turn."""
