"""``%scaler`` and ``%%scaler``: the extension, the commands, the session's executor, and what the commands print."""
