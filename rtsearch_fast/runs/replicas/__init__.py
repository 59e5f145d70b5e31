"""One run on many machines: workers that search, and one process that hands out and writes."""
