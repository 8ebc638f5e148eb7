"""``%scaler`` and ``%%scaler``: the extension, the commands, the executor of the session, what they print."""
