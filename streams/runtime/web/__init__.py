"""Web pages of a worker: figures as JSON at `/stats/`, Prometheus metrics at `/metrics`, readiness at `/health`."""
