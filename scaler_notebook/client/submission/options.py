"""The options of a task as a user gives them, checked at the call: a mistake is met where it was made."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias, TypeVar, cast

from scaler_notebook.client.context.user_modules import USER_MODULES
from scaler_notebook.protocol import payloads
from scaler_notebook.protocol.capabilities import as_tuple
from scaler_notebook.protocol.devices import WHOLE
from scaler_notebook.protocol.errors import ProcessorDiedError
from scaler_notebook.protocol.messages import TaskOptions
from scaler_notebook.protocol.pickling import pickler
from scaler_notebook.protocol.twins import maker
from scaler_notebook.suggestions import did_you_mean
from scaler_notebook.wording import sentence

from .call_text import CodeText, for_browsers, shorten
from .checked_values import MAX_AMOUNT, checked_bytes, checked_integer, checked_seconds, shown

MIN_PRIORITY, MAX_PRIORITY = -(2**63), 2**63 - 1  # what a message can hold
MAX_RETRIES = MAX_AMOUNT
RESOURCES = ("memory",)

RetryOn: TypeAlias = type[BaseException] | Sequence[type[BaseException]]
F = TypeVar("F", bound=Callable[..., Any])


def names_options(method: F) -> F:
    """Decorate a method so that its TypeError for an unknown option names the option that may have been meant."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    known = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    title = method.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    passes_on = "; what is meant for the function goes into kwargs={...}" if "kwargs" in known else ""

    @functools.wraps(method)
    def checked(*args: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # IPython's convention: a traceback has the user's frames, not these
        _check_names(title, options, known, passes_on)
        return method(*args, **options)

    return cast(F, checked)


def _check_names(title: str, options: Iterable[str], known: Sequence[str], passes_on: str = "") -> None:
    """Raise the TypeError for an unknown option.

    Parameters
    ----------
    title
        The name of what is called.
    options
        The names that it is given.
    known
        The names of its options.
    passes_on
        What is to be said of other names.
    """
    __tracebackhide__ = True
    for name in options:
        if name not in known:
            others = did_you_mean(name, known, repr) or f": there are {', '.join(known)}{passes_on}"
            raise TypeError(f"{title}() has no option {name!r}{others}")


def check_options_of_calls(options: Mapping[str, Any]) -> None:
    """Raise what is wrong with the options that ``map_async`` is given for its calls, which may be none.

    Raises
    ------
    Exception
        As :func:`task_options`.
    """
    __tracebackhide__ = True
    parameters = inspect.signature(task_options).parameters.values()
    _check_names("map_async", options, [each.name for each in parameters if each.kind is each.KEYWORD_ONLY])
    task_options("", **options)


def checked_call(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return ``args`` and ``kwargs`` as a tuple and a dictionary.

    Parameters
    ----------
    fn
        What is called.
    args, kwargs
        Its arguments as the user gave them.

    Raises
    ------
    TypeError
        ``fn`` cannot be called, or the arguments are something else.
    """
    if not callable(fn):
        raise TypeError(f"fn is a function, or anything else that can be called, not {shown(fn)}")
    if not isinstance(args, tuple | list):
        raise TypeError(f"args is a tuple or a list of the positional arguments, not {shown(args)}")
    kwargs = {} if kwargs is None else kwargs
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise TypeError(f"kwargs is a dictionary of the arguments by their names, not {shown(kwargs)}")
    return tuple(args), dict(kwargs)


plain_options: Callable[[str], TaskOptions] = maker(TaskOptions)  # of a task with a name and no option


def task_options(
    call: str,
    *,
    name: str | None = None,
    priority: int = 0,
    retries: int = 0,
    timeout: float | None = None,
    capabilities: Mapping[str, int] | None = None,
    retry_on: RetryOn | None = None,
    resources: Mapping[str, float] | None = None,
    memory_limit: float | None = None,
    run_timeout: float | None = None,
    gpus: float = 0,
) -> TaskOptions:
    """Return the checked options of a task, for its message to the engine.

    Parameters
    ----------
    call
        What is shown of a task without a name.
    name, priority, retries, timeout, capabilities, retry_on, resources, memory_limit, run_timeout, gpus
        As :meth:`~scaler_notebook.client.engine_client.EngineClient.submit_verbose` has them.

    Raises
    ------
    TypeError, ValueError
        An option is not what it must be.
    TaskSerializationError
        A class in ``retry_on`` cannot be pickled.
    """
    priority = checked_integer("priority", priority)
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise ValueError(f"priority is between -2**63 and 2**63 - 1, not {priority}")
    retries = checked_integer("retries", retries)
    if not 0 <= retries <= MAX_RETRIES:
        raise ValueError(f"retries is at least 0 (nothing is tried again) and at most 2**31 - 1, not {retries}")
    needs = checked_capabilities(capabilities)
    seconds = 0.0 if timeout is None else checked_seconds("timeout", timeout)
    run_seconds = 0.0 if run_timeout is None else checked_seconds("run_timeout", run_timeout)
    errors, deaths = (b"", True) if retry_on is None else _checked_errors(retry_on)
    text = call if name is None else _checked_name(name)
    memory = _checked_memory(resources)
    limit = 0 if memory_limit is None else checked_bytes("memory_limit", memory_limit)
    parts = _checked_gpus(gpus)
    named = name is not None and not isinstance(name, CodeText)
    return TaskOptions(
        text, priority, retries, seconds, as_tuple(needs), errors, deaths, memory, limit, run_seconds, parts, named
    )


def checked_capabilities(capabilities: Mapping[str, int] | None) -> dict[str, int]:
    """Return amounts by name with plain integers; an empty dictionary for None.

    Raises
    ------
    TypeError, ValueError
        They are not amounts by name.
    """
    if capabilities is None:
        return {}
    if not isinstance(capabilities, Mapping):
        raise TypeError(
            f"capabilities is a dictionary of amounts by name, e.g. {{'gpu': 1}}, not {shown(capabilities)}"
        )
    amounts = {}
    for name, value in capabilities.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"the name of a capability is a text, not {shown(name)}")
        amounts[name] = amount = checked_integer(f"the amount of the capability {name!r}", value)
        if not 1 <= amount <= MAX_AMOUNT:
            raise ValueError(f"the amount of the capability {name!r} is between 1 and 2**31 - 1, not {amount}")
    return amounts


def _checked_gpus(gpus: float) -> int:
    """Return the parts of devices that a task takes, of which each device has :data:`.devices.WHOLE`."""
    if isinstance(gpus, bool) or not isinstance(gpus, Real):  # numpy's numbers are real ones
        gpus = checked_integer("gpus", gpus)  # type: ignore[arg-type]  # which raises, as a rule
    parts = round(gpus * WHOLE) if 0 <= gpus <= MAX_AMOUNT // WHOLE else -1
    if gpus < 1:
        parts = min(parts, WHOLE - 1)  # 0.999 is a share, and no device that the task has alone
    if parts < 0 or (gpus and not parts) or (gpus > 1 and gpus != int(gpus)):
        raise ValueError(
            f"gpus is a whole number, for a task that has so many alone, or a share of one, e.g. 0.5, not {gpus!r:.60}"
        )
    return parts


def _checked_errors(retry_on: RetryOn) -> tuple[bytes, bool]:
    """Return the pickled classes, and whether the error of a process that died is one of them."""
    classes = (retry_on,) if isinstance(retry_on, type) else retry_on
    if not isinstance(classes, tuple | list):
        raise TypeError(
            f"retry_on is an exception class or a tuple of them, e.g. (ConnectionError, TimeoutError), "
            f"not {shown(retry_on)}"
        )
    for one in classes:
        if not isinstance(one, type) or not issubclass(one, BaseException):
            what = f"the class {one.__qualname__}" if isinstance(one, type) else shown(one)
            raise TypeError(f"retry_on has exception classes, e.g. ConnectionError, and {what} is none")
    if not classes:
        raise ValueError("retry_on is empty: nothing would be tried again. Leave it out, and everything is")
    USER_MODULES.refresh()
    try:
        pickled = pickler.dumps(tuple(classes))
    except Exception as error:
        raise payloads.serialization_error("retry_on", tuple(classes), error) from error
    return pickled, issubclass(ProcessorDiedError, tuple(classes))


def _checked_memory(resources: Mapping[str, float] | None) -> int:
    """Return the bytes that ``resources`` announces; 0 for none."""
    if resources is None:
        return 0
    if not isinstance(resources, Mapping):
        raise TypeError(f"resources is a dictionary, e.g. {{'memory': 2_000_000_000}}, not {shown(resources)}")
    for name in resources:
        if not isinstance(name, str):
            raise TypeError(f"the name of a resource is a text, not {shown(name)}")
        if name not in RESOURCES:
            hint = did_you_mean(name, RESOURCES, repr) or ", only memory"
            raise ValueError(
                f"{sentence(f'there is no resource {name!r}{hint}')} Cores are shared out by the executor's n_workers; "
                "anything else that tasks share is a capability, e.g. capabilities={'gpu': 1}"
            )
    return checked_bytes("memory", resources["memory"]) if "memory" in resources else 0


def _checked_name(name: str) -> str:
    """Return a task's name in one line, cut if it is too long."""
    if not isinstance(name, str):
        raise TypeError(f"name is a text, not {shown(name)}")
    text = for_browsers(" ".join(name.split()))
    if not text:
        raise ValueError("name is a text with something in it; leave it out, and the call is shown")
    return shorten(text)
