"""Measurements of the method; each command prints what benchmarks/RESULTS.md quotes."""
