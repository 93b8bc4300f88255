"""The data model: structs and pure functions, without I/O, clocks, random numbers or environment variables."""
