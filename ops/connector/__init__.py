"""The Debezium connector of a dataset: its settings, and the commands that deploy and delete it."""
