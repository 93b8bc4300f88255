"""A worker's pages for people and programs, and its metrics for Prometheus."""
