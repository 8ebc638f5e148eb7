"""The commands about the engine: ``start``, ``scale``, ``stop``, ``status``, ``connect`` and ``config``."""

import argparse
from collections.abc import Callable
from typing import Any, get_args

from IPython.core.error import UsageError
from IPython.display import display

from scaler_notebook.client import engine_report
from scaler_notebook.client.executor import NotebookExecutor
from scaler_notebook.client.submission.capability_argument import parse_capability, parse_gpus
from scaler_notebook.client.task_state.cancel_policy import DEFAULTS, CancelPolicy, OnInterrupt
from scaler_notebook.notebook.magics import documents, session_executor, tables
from scaler_notebook.notebook.settings_store import settings
from scaler_notebook.suggestions import did_you_mean
from scaler_notebook.wording import counted

from .parsing import seconds

SWITCH = {"on": True, "off": False}


def add_start_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``start`` to a parser."""
    parser.add_argument(
        "-n", "--workers", type=int, metavar="N", help="how many tasks run at the same time; the cores otherwise"
    )
    parser.add_argument(
        "--capability",
        type=parse_capability,
        action="append",
        metavar="NAME=N",
        help="what the engine's tasks share, e.g. licence=2: for --needs of a magic and capabilities= of a submit",
    )
    parser.add_argument(
        "--gpus", type=parse_gpus, help="what tasks may be given: auto, a number of GPUs, or their numbers, e.g. 0,1"
    )
    parser.add_argument(
        "--idle-timeout",
        type=seconds,
        metavar="S",
        help="idle processes go after so many seconds, and come back on demand",
    )


def start(shell: Any, options: argparse.Namespace) -> None:
    """Start the engine now.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_start_options`.
    """
    executor = session_executor.present()
    wanted = options.capability or options.gpus is not None or options.idle_timeout is not None
    if executor is not None and executor.is_running:
        if options.workers not in (None, executor.n_workers) or wanted:
            raise UsageError(
                f"the engine runs already, with {counted(executor.n_workers, 'worker')}; "
                "%scaler scale changes their number, and %scaler stop ends it"
            )
    elif executor is None or wanted or options.workers is not None:
        try:
            executor = session_executor.create(
                options.workers, dict(options.capability or ()), options.gpus, options.idle_timeout
            )
        except (TypeError, ValueError) as error:
            raise UsageError(f"%scaler start: {error}") from None
    executor.start()
    print(f"{_engine_text(executor)}; %scaler status says what it does")


def add_scale_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument of ``scale`` to a parser."""
    parser.add_argument("N", type=int, help="how many tasks run at the same time from here on")


def scale(shell: Any, options: argparse.Namespace) -> None:
    """Change how many tasks run at the same time.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_scale_options`.
    """
    executor = session_executor.current()
    try:
        executor.scale(options.N)
    except ValueError as error:
        raise UsageError(f"%scaler scale {options.N}: {error}") from None
    print(f"{counted(options.N, 'worker')} from here on; what is running goes on")


def add_stop_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``stop`` to a parser."""
    parser.add_argument("--wait", action="store_true", help="let what is queued and running finish first")


def stop(shell: Any, options: argparse.Namespace) -> None:
    """End the engine. The next task starts another one.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_stop_options`.
    """
    executor = session_executor.present()
    if executor is None or not executor.is_running:
        print("no engine runs")
        return
    unfinished = executor.unfinished()
    if options.wait:
        executor.shutdown()
    else:
        executor.disconnect()
    cancelled = sum(future.cancelled() for future in unfinished)
    stopped = "left" if executor.is_attached else "stopped"
    tasks = counted(cancelled, "task was", "tasks were")
    print(f"{stopped}; {tasks} cancelled" if cancelled else stopped)


def add_connect_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument of ``connect`` to a parser."""
    parser.add_argument(
        "ADDRESS",
        help="tcp://127.0.0.1:PORT, ipc://PATH, scaler://HOST:PORT, or a variable that holds one, or an executor",
    )


def connect(shell: Any, options: argparse.Namespace) -> None:
    """Use an engine that runs already, or an executor of the user's, for what is submitted from here on.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_connect_options`.
    """
    found = _resolve_variable(shell, options.ADDRESS)
    if isinstance(found, NotebookExecutor):
        if found.is_shut_down:
            raise UsageError(f"{options.ADDRESS} is shut down, and takes no more tasks")
        session_executor.choose(found)
        print(f"the magics submit to {options.ADDRESS} from here on")
        return
    try:
        executor = session_executor.connect(str(found))
    except (ValueError, ConnectionError) as error:
        raise UsageError(str(error)) from None
    print(f"{_engine_text(executor)}; what is submitted from here on runs there")


def _resolve_variable(shell: Any, text: str) -> Any:
    """Return the value of a variable or an attribute, and a text that names none. Names have no colon, addresses do.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    text
        What was typed.
    """
    name, *attributes = text.split(".")
    if not all(map(str.isidentifier, (name, *attributes))) or name not in shell.user_ns:
        return text
    value = shell.user_ns[name]
    for attribute in attributes:
        value = getattr(value, attribute)
    return value


def status(shell: Any, options: argparse.Namespace) -> None:
    """Display the engine's processes, their memory, the queue, and what runs.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`.add_json_option`.
    """
    executor = session_executor.present()
    if options.json:
        runs = executor is not None and executor.is_running
        documents.show(engine=documents.engine(executor, executor.engine_status()) if executor and runs else None)
        return
    used = f"the magics submit to {session_executor.describe(executor, shell.user_ns)}" if executor is not None else ""
    if executor is None or not executor.is_running:
        print("no engine runs, and nothing is queued or running; the first task starts one, as does %scaler start")
        if used:
            print(used)
        return
    if engine_report.report(executor).state == "paused":
        used += "; paused: nothing that is queued starts until %scaler resume"
    found = executor.engine_status()
    if found is None:
        print(f"{_engine_text(executor)}, and does not answer: it is very busy, or stopped; {used}")
        return
    display(tables.bundle(*tables.status_table(f"{_engine_text(executor)}; {used}", found)), raw=True)


def _engine_text(executor: NotebookExecutor) -> str:
    """Name an executor's engine for a person."""
    kind = f"an engine with {counted(executor.n_workers, 'worker')}" if executor.n_workers else "a cluster"
    return f"{kind} runs at {executor.address}"


# ---------------------------------------------------------------------- settings

SETTING_CHOICES: dict[str, tuple[str, ...]] = dict.fromkeys((*vars(DEFAULTS), *vars(settings)), ())
SETTING_CHOICES["on_interrupt"] = get_args(OnInterrupt)
SETTINGS_HELP = "\n".join(
    [
        "Settings:",
        "  workers=N             of the engine that is started next",
        "  grace=SECONDS         between the interrupt of a cancel and what follows",
        "  on_interrupt=ask|cancel|leave",
        "                        what becomes of the tasks when the stop button ends a wait for them",
        "  progress_after=SECONDS",
        "                        how long a %%scaler cell waits for its task before it shows a card",
        "  output_lines=N        of a task's output in its card",
        "  notify=SECONDS        tell the end of what was shown for so long, in the title and by the browser; 0: never",
        "  notify_sound=on|off   ... and by a sound",
        "  wait_for_names=on|off",
        "                        does a cell that reads a name of a running %%scaler --out cell wait for the name?",
    ]
)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument of ``config`` to a parser."""
    parser.add_argument("SETTING", nargs="*", metavar="NAME=VALUE", help="none: show them")


def config(shell: Any, options: argparse.Namespace) -> None:
    """Show or change settings, for later tasks of the present executor and of executors to come.

    Parameters
    ----------
    shell
        The notebook's ``InteractiveShell``.
    options
        The arguments, parsed by a parser of :func:`add_config_options`.
    """
    executor = session_executor.present()
    policies = [DEFAULTS] if executor is None else [DEFAULTS, executor.policy]
    now = {**vars(policies[-1]), **vars(settings)}
    changes = {}
    for word in options.SETTING:
        name, _, text = word.partition("=")
        name = name.replace("-", "_")
        if name not in now:
            raise UsageError(
                f"%scaler config has no setting {name!r}{did_you_mean(name, now) or '.'} It has {', '.join(now)}"
            )
        if not text:
            raise UsageError(f"%scaler config: give {name} a value: {name}={_format_setting(now[name])}")
        changes[name] = _parse_setting(name, text, now)
    for name, value in changes.items():
        for holder in (settings,) if name in vars(settings) else policies:
            setattr(holder, name, value)
    print(" ".join(f"{name}={_format_setting(value)}" for name, value in {**now, **changes}.items()))
    if changes.keys() & {"notify", "notify_sound"}:
        from scaler_notebook.notebook.views.notices import display as notices

        notices.show()


def _parse_setting(name: str, text: str, now: dict[str, Any]) -> Any:
    """Parse and check a new value.

    Parameters
    ----------
    name
        The name of the setting.
    text
        The value as typed.
    now
        All settings and their values.

    Raises
    ------
    UsageError
        The value is of another kind, or out of range.
    """
    kinds: dict[str, Callable[[str], Any]] = {
        "on_interrupt": str,
        "workers": int,
        "output_lines": int,
        "wait_for_names": SWITCH.__getitem__,
        "notify_sound": SWITCH.__getitem__,
    }
    kind = kinds.get(name, float)
    try:
        value = kind(text)
    except (ValueError, KeyError):
        wanted = "a whole number" if kind is int else "a number of seconds" if kind is float else "on or off"
        raise UsageError(
            f"%scaler config {name}={text}: {name} takes {wanted}; it is {_format_setting(now[name])} now"
        ) from None
    try:
        trial = type(settings)() if name in vars(settings) else CancelPolicy()
        setattr(trial, name, value)
    except ValueError as error:
        raise UsageError(f"%scaler config {name}={text}: {error}") from None
    return value


def _format_setting(value: Any) -> str:
    """Write a value as it could be typed; ``cores`` stands for the default number of workers."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "cores" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
