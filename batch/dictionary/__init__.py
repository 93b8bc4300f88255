"""The data dictionary: what the tables and columns of a dataset's lake mean, from its definition and its Gold files."""
