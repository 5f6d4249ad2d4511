"""What Prometheus reads: the metrics, where they are served, and what they are derived from."""
