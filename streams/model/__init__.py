"""The pure part: what a change means and what follows from it. No I/O, no clock, no randomness, no environment."""
