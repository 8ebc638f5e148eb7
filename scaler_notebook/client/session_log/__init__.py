"""The log of a session: the futures that live, records of the tasks that ended, and the file of events."""
