"""Static forms, for where no widget lives: HTML and text of tasks, badges, and text that was written for a terminal."""
