"""Reading and writing of a Delta table, either by Spark or, if few rows are concerned, in-process with delta-rs."""
