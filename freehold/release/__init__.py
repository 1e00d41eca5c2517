"""Approve, release, roll back, stop; publishes the route table."""
