"""The names that the tries of tasks have at a cluster."""

import secrets


def name_of(task_id: str) -> bytes:
    """A new name at the cluster for a try of a task; no other has it."""
    return f"{task_id}/{secrets.token_hex(8)}".encode()


def task_of(name: str) -> str:
    """The task of a name."""
    return name.partition("/")[0]
