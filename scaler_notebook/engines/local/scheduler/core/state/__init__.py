"""The state of the scheduler's core: its tasks and their order, its processes, what tasks may need."""
