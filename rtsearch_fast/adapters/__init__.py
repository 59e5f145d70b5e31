"""Our searches under other frameworks' interfaces: one module a framework.

Each module imports its framework, and none is imported before it is asked for.
"""
