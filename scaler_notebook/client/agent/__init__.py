"""The client agent: the thread that owns the connection to the engine."""
