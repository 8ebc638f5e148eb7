"""What runs around a task and within one, the same on every engine."""
