"""A conformance suite for OpenDSR processors: it knows the specification, and nothing of this service."""
