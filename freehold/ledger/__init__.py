"""What happened, in order, and how it is proved; lineage and audit are two readings of it."""
