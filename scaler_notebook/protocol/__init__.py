"""Message types, their msgpack form and the state table. Knows nothing of sockets, processes or notebooks."""
