"""The only places that speak Redis, S3 and plain Kafka."""
