"""Processing of a partition in turns (micro-batches), each of which is committed atomically."""
