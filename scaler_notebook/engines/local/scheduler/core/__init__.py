"""The decisions of the scheduler, without its sockets and processes."""
