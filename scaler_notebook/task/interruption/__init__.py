"""How a running task is asked to stop, and says how far it is: a page that two processes share."""
