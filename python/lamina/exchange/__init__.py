"""Formats of nets and weights, a file for each; all work on a `Network`."""
