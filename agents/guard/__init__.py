"""The lock guard: locks in Redis decide which orders this deployment may emit, with one request for a whole turn."""
