"""The JSON Schemas of the output topics: how they are made, and the published files."""
