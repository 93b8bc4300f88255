"""JSON Schemas of the output topics: generation, rules of change, and the published files."""
