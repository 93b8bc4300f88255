"""The same facts in bulk: PySpark jobs from Bronze to Gold."""
