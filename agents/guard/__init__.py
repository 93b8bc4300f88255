"""The lock guard: locks in Redis prevent two deployments from emitting the same order."""
