"""The kernel's side of a Scaler cluster: the connection, the tasks and their state table, the object store."""
