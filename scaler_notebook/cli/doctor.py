"""``scaler-notebook doctor``: run every check, and print what each finds."""

import argparse
from collections.abc import Callable, Iterator

from .checks import machine, packages
from .checks.finding import Finding

CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Python": packages.check_python,
    "system": machine.check_system,
    "kernel": packages.check_kernel,
    "front end": packages.check_front_ends,
    "widgets": packages.check_widgets,
    "engine": machine.check_engine,
    "clusters": packages.check_clusters,
    "memory files": machine.check_memory_files,
    "limits": machine.check_limits,
}


def run(options: argparse.Namespace) -> int:
    """Run all checks and print every finding as soon as it is made; the exit status is 1 if anything is wrong."""
    wrong = 0
    for name, check in CHECKS.items():
        try:
            findings = list(check())
        except Exception as error:  # a check that fails says so, and the others go on
            findings = [Finding("wrong", f"the check failed: {type(error).__name__}: {error}")]
        for level, text, advice in findings:
            wrong += level == "wrong"
            print(f"{level:<6} {name:<12} {text}", flush=True)
            if advice:
                print(f"{'':<20}-> {advice}", flush=True)
    print(f"\n{wrong} thing{'s are' if wrong != 1 else ' is'} wrong" if wrong else "\nnothing is wrong")
    return 1 if wrong else 0
