"""A session: what a client does over one connection to an engine, from its start to its end."""
