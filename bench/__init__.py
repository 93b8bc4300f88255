"""What it costs: benchmarks against the systems people would use instead."""
