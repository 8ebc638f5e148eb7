"""The previews of results that processes still make, after the results themselves."""


class ExpectedPreviews:
    """The result of which each process makes a preview."""

    def __init__(self) -> None:
        self._expected: dict[int, tuple[int, bytes, str]] = {}  # by process: run, client, and task id

    def __contains__(self, process: int) -> bool:
        return process in self._expected

    def expect(self, process: int, seq: int, owner: bytes, task_id: str) -> None:
        """Expect the preview of a result.

        Parameters
        ----------
        process
            The number of the process.
        seq
            The number of the run, among the runs of the process.
        owner
            The client that has the result.
        task_id
            The task.
        """
        self._expected[process] = seq, owner, task_id

    def take(self, process: int, seq: int) -> tuple[bytes, str]:
        """Return the client and the task that a preview is for; nobody if it is not the expected one.

        Parameters
        ----------
        process
            The number of the process that has made the preview.
        seq
            The number of the run.
        """
        last, owner, task_id = self._expected.pop(process, (0, b"", ""))
        return (owner, task_id) if last == seq else (b"", "")

    def forget(self, process: int) -> None:
        """Expect no preview from a process that is gone."""
        self._expected.pop(process, None)
