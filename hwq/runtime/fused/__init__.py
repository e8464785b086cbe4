"""Several nodes as one kernel: a block of rows stays in the cache from codes to codes."""
