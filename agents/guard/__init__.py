"""The lock guard: which order may be emitted here, asked of Redis for a whole turn at once."""
