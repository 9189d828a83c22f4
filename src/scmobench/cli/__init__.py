"""The command line of scmobench.

`parser` reads the arguments, `commands` does what they ask for. Each command imports the heavy packages that
it needs, so that help comes at once.
"""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

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
        prepare(arguments)
    except FileNotFoundError as error:
        told = "expected a folder to work in, found this one deleted: change into another"
        raise SystemExit(f"scmobench: {told}") from error
    except ValueError as error:
        raise SystemExit(f"scmobench: {error}") from error
    options = parsed(arguments)
    from scmobench.machine.terminal import hushed

    try:
        with hushed():
            options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from scmobench.experiment.loader import USER_ERRORS, one_line

        if os.environ.get("SCMOBENCH_TRACEBACK") or not isinstance(error, USER_ERRORS):
            raise
        raise SystemExit(f"scmobench: {one_line(error)}") from error
