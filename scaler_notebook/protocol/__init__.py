"""Messages between client and engine, their msgpack form, and the future's state table.

Nothing here knows of sockets, processes or notebooks.
"""
