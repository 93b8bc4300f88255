"""PySpark batch jobs that build the lake's Bronze, Silver and Gold tables from the source's changes."""
