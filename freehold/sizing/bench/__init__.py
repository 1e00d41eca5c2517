"""Is this machine fast enough: storage, compute, and services under load. Needs no installation."""
