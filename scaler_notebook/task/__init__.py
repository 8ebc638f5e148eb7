"""The code that runs around a task and within a task, in the task's process, the same on every engine.

Other processes import from here what both sides must agree on: docs/architecture.md has the list.
"""
