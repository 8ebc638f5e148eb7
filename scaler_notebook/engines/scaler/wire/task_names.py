"""The names under which a cluster knows the tries of tasks."""

import secrets


def name_of(task_id: str) -> bytes:
    """Return a new, unique name for a try of a task."""
    return f"{task_id}/{secrets.token_hex(8)}".encode()


def task_of(name: str) -> str:
    """Return the id of the task to which the name of a try belongs."""
    return name.partition("/")[0]
