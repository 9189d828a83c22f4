"""The command line of scmobench.

`parser` reads the arguments, `commands` does what they ask for. Each command imports the heavy packages that
it needs, so that help comes at once.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from scmobench.cli.parser import parsed
from scmobench.machine.arithmetic import prepare

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script ``scmobench``."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:  # closed
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        if isinstance(stream, io.TextIOWrapper):  # not every terminal or file can hold ↓
            stream.reconfigure(errors="backslashreplace")
    try:
        os.getcwd()
        if sys.flags.optimize > 1:
            raise ValueError(
                "expected docstrings, which anndata needs, found -OO or PYTHONOPTIMIZE=2: leave it out"
            )
        prepare(arguments)
    except FileNotFoundError as error:
        told = "expected a folder to work in, found this one deleted: change into another"
        raise SystemExit(f"scmobench: {told}") from error
    except ValueError as error:
        raise SystemExit(f"scmobench: {error}") from error
    options = parsed(arguments)
    os.environ["MPLBACKEND"] = "agg"  # no command opens a window; notebooks set one that may not be installed
    from scmobench.machine.terminal import hushed

    ended = _as_interrupts()
    try:
        with hushed():
            options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        number = signal.Signals(*ended[:1] or [signal.SIGINT])
        how = f"ended by {number.name}" if ended else "interrupted"
        print(f"scmobench: {how}; what is finished stays, the same command makes the rest", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from scmobench.experiment.loader import USER_ERRORS, one_line

        if os.environ.get("SCMOBENCH_TRACEBACK") or not isinstance(error, USER_ERRORS):
            raise
        raise SystemExit(f"scmobench: {one_line(error)}") from error


def _as_interrupts() -> list[int]:
    """Make SIGTERM and SIGHUP interrupts, which all libraries pass on. Returns those that come."""
    came: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP) if current_thread() is main_thread() else ():
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, interrupt)
    return came
