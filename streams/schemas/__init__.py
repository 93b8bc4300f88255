"""JSON Schemas of the output topics: their generation, the rules for changing them, and the published files."""
