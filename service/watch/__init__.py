"""What people and Prometheus see: pages, metrics, health. Reads the ledger, and never writes it
but for its own role row."""
