"""The pure part: what a change means and what follows from it; no I/O, clock, randomness or environment."""
