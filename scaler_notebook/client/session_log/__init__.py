"""What a session has submitted: live futures, ended ones, and the log of events."""
