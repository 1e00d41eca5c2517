"""REST, ingestion, snapshots: what the CLI and others call."""
