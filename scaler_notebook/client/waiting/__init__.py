"""How this process waits: the host, signals, locks, and the threads that run the user's callbacks."""
