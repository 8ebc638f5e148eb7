"""The code that runs around a task and within a task, the same on every engine."""
