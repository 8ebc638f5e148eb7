"""The displays of a task, its IPython shell, and previews of its result."""
