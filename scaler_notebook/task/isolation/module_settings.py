"""The settings of modules that a task may import, by module; each is restored once the module is imported."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from scaler_notebook.protocol.settings import MATPLOTLIB_PARAMETERS, NUMPY_ERRORS, PANDAS_OPTIONS

from .expressions import Expression
from .noted_calls import NotedSeeds, note_calls, note_value
from .setting import CopiedMapping, Setting


def _decimal(decimal: Any) -> list[Setting]:
    """Return the setting for the decimal context; ``__reduce__`` gives all of it, flags included."""

    def write(value: Any) -> None:
        kind, arguments = value
        decimal.setcontext(kind(*arguments))

    return [Setting("decimal context", Expression("{decimal}.getcontext().__reduce__()", decimal=decimal), write)]


def _locale(locale: Any) -> list[Setting]:
    """Return the setting for the locale."""
    set_locale = locale.setlocale

    def read() -> str:
        return str(set_locale(locale.LC_ALL))

    def write(value: str) -> None:
        set_locale(locale.LC_ALL, value)

    return [note_value("locale", read, write, (locale,), "setlocale")]


def _event_loops(events: Any) -> list[Setting]:
    """Return the setting for the event loop policy, which holds the main thread's event loop."""
    policy = Expression("{events}._event_loop_policy", events=events)
    return [Setting("event loop policy", policy, events.set_event_loop_policy)]


def _tempfile(tempfile: Any) -> list[Setting]:
    """Return the setting for the temporary directory that was found: the next task may have another TMPDIR."""
    found = Expression("{tempfile}.tempdir", tempfile=tempfile)
    return [Setting("temporary directory", found, lambda value: setattr(tempfile, "tempdir", value))]


def _faulthandler(faulthandler: Any) -> list[Setting]:
    """Return the setting for a pending ``dump_traceback_later``, which may end the process."""
    calls: list[None] = []
    note_calls((faulthandler,), ("dump_traceback_later",), after=lambda: calls.append(None))

    def write(count: int) -> None:
        del calls[count:]
        faulthandler.cancel_dump_traceback_later()

    return [Setting("pending dump of tracebacks", lambda: len(calls), write)]


def _tracemalloc(tracemalloc: Any) -> list[Setting]:
    def write(wanted: bool) -> None:
        (tracemalloc.start if wanted else tracemalloc.stop)()

    return [Setting("tracing of memory", tracemalloc.is_tracing, write)]


def _csv(csv: Any) -> list[Setting]:
    """Return the setting for the dialects, which pickle and compare by their parts."""

    def write_dialects(wanted: dict[str, Any]) -> None:
        for name in set(csv.list_dialects()).difference(wanted):
            csv.unregister_dialect(name)
        for name, dialect in wanted.items():
            csv.register_dialect(name, dialect)

    def read_dialects() -> dict[str, Any]:
        return {name: csv.get_dialect(name) for name in csv.list_dialects()}

    return [
        note_value("csv dialects", read_dialects, write_dialects, (csv,), "register_dialect", "unregister_dialect"),
        Setting("csv fields", csv.field_size_limit, csv.field_size_limit),
    ]


def _opener(request: Any) -> list[Setting]:
    return [Setting("opener of addresses", Expression("{request}._opener", request=request), request.install_opener)]


def _numpy(numpy: Any) -> list[Setting]:
    def write_options(value: dict[str, Any]) -> None:
        numpy.set_printoptions(**value)

    return [
        Setting(NUMPY_ERRORS, numpy.geterr, lambda value: numpy.seterr(**value)),
        note_value("numpy print options", numpy.get_printoptions, write_options, (numpy,), "set_printoptions"),
    ]


def _numpy_random(random: Any) -> list[Setting]:
    seeds = NotedSeeds(random.get_state, random.set_state)
    note_calls((random, random.mtrand), ("seed", "set_state"), before=seeds.noted)
    return [seeds.setting("numpy.random")]


class PandasOptions:
    """The options of pandas. Asking for each takes long, so they are read again only where something differs.

    Parameters
    ----------
    config
        The module ``pandas._config.config``.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self._seen: dict[str, Any] = {}  # a copy of the nested mapping in which pandas stores the options
        self._values: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Return all options by name; not to be changed."""
        if self._seen != self._config._global_config:
            self._seen = _copy(self._config._global_config)
            self._values = {}
            self._collect("", self._seen)
        return self._values

    def _collect(self, prefix: str, mapping: dict[str, Any]) -> None:
        for name, value in mapping.items():
            if isinstance(value, dict) and f"{prefix}{name}" not in self._config._registered_options:
                self._collect(f"{prefix}{name}.", value)
            else:
                self._values[f"{prefix}{name}"] = value

    def write(self, wanted: Mapping[str, Any]) -> None:
        """Set options by name."""
        for name, value in self.read().items():
            if name in wanted and wanted[name] != value:
                self._config.set_option(name, wanted[name])


def _copy(mapping: dict[str, Any]) -> dict[str, Any]:
    return {name: _copy(value) if isinstance(value, dict) else value for name, value in mapping.items()}


def _pandas(pandas: Any) -> list[Setting]:
    options = PandasOptions(sys.modules["pandas._config.config"])
    return [Setting(PANDAS_OPTIONS, options.read, options.write)]


def _matplotlib(matplotlib: Any) -> list[Setting]:
    """Return the setting for the parameters of matplotlib, including the backend."""
    parameters = matplotlib.rcParams

    def write(wanted: Mapping[str, Any]) -> None:
        before = dict.get(parameters, "backend")
        dict.update(parameters, wanted)
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None and wanted.get("backend") != before:
            if isinstance(wanted["backend"], str):
                pyplot.switch_backend(wanted["backend"])
            else:  # no backend was chosen: the next figure chooses one
                pyplot._backend_mod = None

    copied = CopiedMapping(parameters)
    return [Setting(MATPLOTLIB_PARAMETERS, copied.read, write, look=copied.look)]


def _figures(helpers: Any) -> list[Setting]:
    """Return the setting for the open figures, of which ``pyplot`` draws on the last."""
    manager = helpers.Gcf

    def write(wanted: list[Any]) -> None:
        for number in [number for number in manager.figs if number not in wanted]:
            manager.destroy(number)

    return [Setting("open figures", lambda: [*manager.figs], write)]


# By the module that must have been imported. Each function gets the module, and returns settings with current values.
OF_MODULES: dict[str, Callable[[Any], list[Setting]]] = {
    "decimal": _decimal,
    "locale": _locale,
    "asyncio.events": _event_loops,
    "csv": _csv,
    "urllib.request": _opener,
    "tempfile": _tempfile,
    "faulthandler": _faulthandler,
    "tracemalloc": _tracemalloc,
    "numpy": _numpy,
    "numpy.random": _numpy_random,
    "pandas": _pandas,
    "matplotlib": _matplotlib,
    "matplotlib._pylab_helpers": _figures,
}
