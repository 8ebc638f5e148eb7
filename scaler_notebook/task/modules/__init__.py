"""The modules that a task imports: the files that they come from, and actions on their import."""
