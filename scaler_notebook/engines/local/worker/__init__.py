"""The task process, which runs one task at a time."""
