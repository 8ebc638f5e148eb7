"""The forms that a call takes in its task: a chunk of calls, a cell, a coroutine."""
