"""Executor, future and what waits for them. No Jupyter import: works in a plain script."""
