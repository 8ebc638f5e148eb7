"""Finding a task by what a person types: its id, the beginning of its id, or the name of what was called."""

from typing import Any

from IPython.core.error import UsageError

from scaler_notebook.client.futures.future import ScalerFuture
from scaler_notebook.client.session_log import history
from scaler_notebook.suggestions import did_you_mean


def find_records(word: str, unfinished: bool = False) -> list[history.HistoryRecord]:
    """Find the tasks that a word means, in the order of submission.

    Parameters
    ----------
    word
        An id, the beginning of one id, a name or a call.
    unfinished
        Find only tasks that have not ended.

    Raises
    ------
    UsageError
        No such task exists, or none that is unfinished; the message says which tasks there are.
    """
    candidates = [record for record in history.session if not (unfinished and record.is_over)]
    found = [record for record in candidates if record.task_id == word]
    found = found or [record for record in candidates if word in (record.name, record.call)]
    begun = [record for record in candidates if record.task_id.startswith(word)]
    found = found or (begun if len(begun) == 1 else [])
    if found:
        return found
    over = find_records(word) if unfinished and candidates != list(history.session) and _exists(word) else []
    if over:
        raise UsageError(f"{over[-1].task_id} has ended already: {over[-1].words}")
    kind = "no unfinished task" if unfinished else "no task of this session is"
    if not candidates:
        raise UsageError(f"{kind} {word!r}: there is none")
    known = [name for record in candidates for name in (record.task_id, record.name)]
    some = ", ".join(f"{record.task_id} ({record.name})" for record in candidates[-5:])
    hint = did_you_mean(word, known) or "."
    raise UsageError(f"{kind} {word!r}{hint} The last ones are {some}; %scaler history lists all")


def find_record(word: str) -> history.HistoryRecord:
    """Find the task that a word means; of several tasks of that name, the latest, and of all for no word at all."""
    if word:
        return find_records(word)[-1]
    records = list(history.session)
    if not records:
        raise UsageError("no task was submitted in this session")
    return records[-1]


def find_future(word: str) -> ScalerFuture[Any]:
    """Find the future of the task that a word means; of several tasks of that name, of the latest.

    Raises
    ------
    UsageError
        No such task exists, or nobody holds its future any more, so that its result is gone.
    """
    found = find_record(word)
    alive = found.future()
    if alive is None:
        raise UsageError(
            f"the result of {found.task_id} ({found.call}) is gone: nothing in this notebook holds its future any "
            "more. Bind it: fut = %scaler submit …"
        )
    return alive


def _exists(word: str) -> bool:
    """Return whether any task of this session has this id, name or call."""
    return any(word in (record.task_id, record.name, record.call) for record in history.session)
