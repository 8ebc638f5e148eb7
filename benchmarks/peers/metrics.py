"""The rows of the table: which figure of which case, in words, and in which unit."""

from __future__ import annotations

from typing import NamedTuple

from .sizes import Sizes


class Metric(NamedTuple):
    """One row."""

    case: str
    name: str  # in an outcome
    words: str  # with the fields of ``Sizes``
    unit: str = "seconds"  # or "per second", "megabytes", "count"


METRICS = (
    Metric("cold_start", "cold_start", "cold start: interpreter to first result"),
    Metric("cold_start", "cold_start_all", "… until every worker has run a task"),
    Metric("round_trip", "round_trip", "round trip of a no-op, median of {round_trips:,}"),
    Metric("round_trip", "round_trip_p99", "… 99 % of them within"),
    Metric("submit", "submit", "{tasks:,} submits of a no-op: until the last submit returns"),
    Metric("submit", "submit_rate", "… until the last result: tasks per second", "per second"),
    Metric("map", "map_rate", "map of {tasks:,} no-ops with defaults: tasks per second", "per second"),
    Metric("map", "map_chunks_rate", "… with chunksize={chunk}: tasks per second", "per second"),
    Metric("arrays", "small_in", "array of {small_mb} MB as argument"),
    Metric("arrays", "small_out", "… as result"),
    Metric("arrays", "small_echo", "… as argument and result"),
    Metric("arrays", "large_in", "array of {large_mb} MB as argument"),
    Metric("arrays", "large_out", "… as result"),
    Metric("arrays", "large_echo", "… as argument and result"),
    Metric("shared_argument", "shared_argument", "the same {large_mb} MB array to {sharers} tasks"),
    Metric("shared_argument", "shared_argument_put", "… sent ahead by the peer's own means"),
    Metric("memory", "idle_memory", "memory of all processes when idle (PSS)", "megabytes"),
    Metric("memory", "processes", "… how many processes", "count"),
    Metric("memory", "held_growth", "{tasks:,} results held: growth of all processes (PSS)", "megabytes"),
    Metric("memory", "held_growth_caller", "… of the caller's process", "megabytes"),
    Metric("search", "small_first", "GridSearchCV of {small_fits} fits of some ms: the first"),
    Metric("search", "small", "… the median of three more"),
    Metric("search", "large", "… of {large_fits} fits of a second, {rows:,} × 100 numbers"),
    Metric("cancel_loop", "cancel", "cancel of a running Python loop: until the future says so"),
    Metric("cancel_loop", "cancel_free", "… until the next task has run in its slot"),
    Metric("cancel_loop", "cancel_otherwise", "… where it cannot: the slot freed by other means"),
    Metric("cancel_sleep", "cancel", "cancel of a running time.sleep: until the future says so"),
    Metric("cancel_sleep", "cancel_free", "… until the next task has run in its slot"),
    Metric("cancel_sleep", "cancel_otherwise", "… where it cannot: the slot freed by other means"),
    Metric("cancel_queued", "cancel_queued", "cancel of {queued:,} queued tasks: until every future says so"),
    Metric("crash", "crash_future", "a task kills its process: until its future fails"),
    Metric("crash", "crash_next", "… until the next task has run"),
    Metric("crash", "crash_all", "… until every worker has run a task"),
    Metric("crash", "crash_runs", "… how often the task was run", "count"),
)


def words_of(metric: Metric, sizes: Sizes) -> str:
    """Name a row.

    Parameters
    ----------
    metric
        The row.
    sizes
        The amounts that the row names.
    """
    return metric.words.format(**vars(sizes))


def formatted(metric: Metric, value: float) -> str:
    """Write a figure for a person.

    Parameters
    ----------
    metric
        The row, which says the unit.
    value
        In seconds, calls per second, megabytes, or a number.
    """
    if metric.unit == "seconds":
        return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"
    if metric.unit == "megabytes":
        return f"{value:.1f} MB"
    return f"{value:,.0f}"
