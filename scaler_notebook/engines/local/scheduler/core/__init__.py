"""The scheduler's decisions, without its sockets and processes."""
