"""What Prometheus reads at /metrics: a table of metrics, each with how it is read from a snapshot of the daemon."""
