"""Adapters: the only modules that talk to Redis, S3, and Kafka without Faust."""
