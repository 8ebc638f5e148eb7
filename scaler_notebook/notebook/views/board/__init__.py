"""The board: one table of many tasks, live in the browser or as static HTML."""
