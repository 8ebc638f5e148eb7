"""Messages over TCP, encrypted: where there are no Unix sockets."""
