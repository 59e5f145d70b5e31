"""Triton kernels that batch the scoring of reward heads: one operation a file.

Imports torch and triton only inside the operations, and nothing of rtsearch_fast.
"""
