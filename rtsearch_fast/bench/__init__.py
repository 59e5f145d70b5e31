"""Latency profiles of the tree core, beside those of other search packages."""
