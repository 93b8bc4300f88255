"""The servers' programs: downloaded once, verified, and kept in a cache."""
