"""What a task shows: displays, its IPython shell, and previews of its result."""
