"""Download the servers' programs once, verify them, and keep them in a cache."""
