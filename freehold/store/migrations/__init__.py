"""Migrations of the schema, one file a step; `store.migrate` runs them, nothing else does."""
