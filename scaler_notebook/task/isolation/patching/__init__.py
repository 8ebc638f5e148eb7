"""Attributes and items of modules that a task's own code replaces: found by reading the code, and put back."""
