"""Commands for a dataset: create its schema, load, generate, simulate a live shop, and check the result."""
