"""The modules that a task imports: from which files they come, and what happens when they are imported."""
