"""The shared page by which a running task is asked to stop and reports its progress."""
