"""Exceptions on their way to another process: as data, as bytes, and with their tracebacks."""
