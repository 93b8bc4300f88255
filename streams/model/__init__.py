"""The pure part: the meaning of a change and its consequences; no I/O, clock, randomness or environment."""
