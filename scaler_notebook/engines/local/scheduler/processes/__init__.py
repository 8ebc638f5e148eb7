"""The scheduler's processes: how task processes are started, kept, measured and ended."""
