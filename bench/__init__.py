"""Comparisons with pytest-benchmark: `make bench`."""
