"""Step over source records that an application cannot process, and keep them as dead letters."""
