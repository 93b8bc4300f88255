"""Programs of the servers: download them once, verify them, and keep them in a cache."""
