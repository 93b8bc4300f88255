"""One Delta table, whoever writes it: Spark, or delta-rs in this process."""
