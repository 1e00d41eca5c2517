"""Things that run a model; one conformance suite for all."""
