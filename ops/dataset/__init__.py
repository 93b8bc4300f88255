"""Tools on a dataset: create its schema, load, generate, simulate a live shop, check what came out."""
