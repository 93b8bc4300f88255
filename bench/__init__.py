"""What it costs: measurements beside the systems people would use instead."""
