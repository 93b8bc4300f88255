"""Processing of one partition in turns (micro-batches), each of which becomes durable as a whole or not at all."""
