"""Processing of one partition: its records are folded in turns, and each turn is made durable, all or nothing."""
