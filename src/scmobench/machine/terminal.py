"""What a person at a terminal sees: bars while something works, and tables of results.

Bars and announcements go to stderr, and only where both streams are a terminal and nobody asked for quiet
(`QUIET`). Tables go to stdout; in a pipe or a file they are plain text of any width.
"""

import contextlib
import functools
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

QUIET = "SCMOBENCH_QUIET"  # set: no bars and no announcements, also in the workers of a sweep
WIDE = 10_000  # columns of a pipe
NARROW = 80  # columns of a table at least: a narrower terminal breaks its lines, so that no value is cut
ONE_AT_A_TIME = threading.RLock()
# of libraries about themselves; the suite's own checks say what matters of the rest
LIBRARIES = (
    ("", FutureWarning),
    ("", DeprecationWarning),
    (".* names are not unique|Transforming to str index", UserWarning),
    ("pkg_resources is dep", UserWarning),
    ("flock not supported", UserWarning),  # the other kind of lock does
    ("Callback .* raised BrokenPipeError", UserWarning),  # `| head` has read enough
)


@functools.cache
def console() -> Console:
    """The one console of bars: those within each other share it."""
    return Console(stderr=True, highlight=False, force_jupyter=False)


def watched() -> bool:
    """Whether a person looks on, who wants to see what goes on."""
    return sys.stdout.isatty() and sys.stderr.isatty() and not os.environ.get(QUIET)


def announce(text: str) -> None:
    """Print what begins now, where a person looks on."""
    if watched():
        console().print(Text(text), soft_wrap=True)


def duration(seconds: float) -> str:
    """A time in words: ``40 s``, ``25 min`` or ``1.6 h``."""
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def visible(text: str) -> str:
    """The text, with each sign that a terminal would act on written out, as in ``\\x1b``."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


@contextlib.contextmanager
def bar(what: str, total: int | None = None, unit: str = "") -> Iterator[Callable[..., None]]:
    """A bar, or without ``total`` the time that passes. It vanishes at the end.

    Yields a function that is told how many are ``completed``, and ``note``, what to show beside.
    """
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    if total is not None:
        columns += [BarColumn(20), TextColumn(f"{{task.completed}}/{{task.total}} {unit}")]
    columns += [TextColumn("{task.fields[note]}", markup=False), TimeElapsedColumn()]
    if total is not None:
        columns += [TextColumn("left"), TimeRemainingColumn(compact=True)]
    with Progress(*columns, console=console(), transient=True, disable=not watched()) as progress:
        yield functools.partial(progress.update, progress.add_task(what, total=total, note=""))


def table(rows: Sequence[Sequence[Any]], head: Sequence[str], *, right: Sequence[int] = ()) -> None:
    """Print rows as a table; the columns ``right`` hold numbers."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, title in enumerate(head):
        shown.add_column(title, justify="right" if number in right else "left", no_wrap=number == 0)
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    out = Console(highlight=False, force_jupyter=False)
    out.width = max(out.width, NARROW) if sys.stdout.isatty() else WIDE
    with out.capture() as printed:
        out.print(shown)
    print("\n".join(line.rstrip() for line in printed.get().splitlines()), flush=True)


@contextlib.contextmanager
def hushed(alone: bool = False) -> Iterator[None]:
    """Hide what libraries warn of about themselves (`LIBRARIES`); a decorator too.

    ``alone`` : threads that want this wait for each other. Random numbers, Hydra's settings, names of files
    in memory and the standard output belong to the whole process.
    """
    with ONE_AT_A_TIME if alone else contextlib.nullcontext(), warnings.catch_warnings():
        for message, category in LIBRARIES:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield
