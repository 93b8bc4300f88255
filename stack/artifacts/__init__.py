"""The servers' programs: fetched once, verified, kept in a cache."""
