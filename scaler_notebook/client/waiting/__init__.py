"""How this process waits: the host, signals, and conditions of several futures."""
