"""Proof of the kernels without a GPU: ``python -m rtsearch_fast.kernels.audit``.

Values, mutants and memory traffic come from Triton's interpreter, machine code from its compilers
for GPUs that need not be there. One process can do either, so each is a program of its own.
"""
