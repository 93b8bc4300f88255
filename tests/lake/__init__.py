"""The lake, on Spark: tables in folders, and (`commands/`) a whole shop on real servers."""
