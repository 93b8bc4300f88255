"""Web views and Prometheus metrics of the applications' state."""
