"""The card: one task, live in the browser or as static HTML."""
