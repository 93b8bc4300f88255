"""The Debezium connector of a dataset: its settings, and the commands that bring it to run."""
