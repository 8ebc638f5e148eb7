"""The view of an executor: its engine's processes, its queue and its groups, live in the browser or as static HTML."""
