"""What a worker shows of itself: pages for people and programs, metrics for Prometheus."""
