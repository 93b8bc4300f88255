"""Adapters for Redis, for S3 object storage, and for reading Kafka topics without Faust."""
