"""The scheduler process, which decides when and in which task process each task runs."""
