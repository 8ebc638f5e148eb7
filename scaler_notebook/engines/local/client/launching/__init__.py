"""Starting a scheduler: its process, its pipes, and its directory."""
