"""The scheduler process: which task runs where and when, and what becomes of it."""
