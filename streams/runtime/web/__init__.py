"""Web pages of a worker: figures as JSON at `/stats/`, and Prometheus metrics at `/metrics`."""
