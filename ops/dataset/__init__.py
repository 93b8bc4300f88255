"""Commands for a dataset: create its schema, load or generate rows, simulate a live shop, and check the result."""
