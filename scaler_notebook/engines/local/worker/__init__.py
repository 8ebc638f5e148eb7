"""The task process: it receives tasks, runs one at a time, and reports."""
