"""The command in a process of its own, forked from one that has imported its packages: it starts at once."""

import multiprocessing
import os
import pty
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from scmobench.cli import main

IMPORTED = ["scmobench.experiment.application", "scmobench.models.scmognn.predict_modality"]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(IMPORTED)


def _go(arguments: tuple[str, ...], cwd: Path, variables: dict[str, str], out: Connection) -> None:
    """In the child: as if the command had been typed in ``cwd``, with its output at ``out``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
    for number in (1, 2):
        os.dup2(out.fileno(), number)
    out.close()
    sys.stdout = open(1, "w", buffering=1 if os.isatty(1) else -1)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["scmobench", *arguments]
    main(arguments)


class Begun:
    """A command that goes on by itself; its errors come with its output, on a ``terminal`` or in a pipe."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, terminal: bool, variables: dict[str, str]):
        ours, its = pty.openpty() if terminal else os.pipe()
        out = Connection(its, readable=False)
        self._process = FORKS.Process(target=_go, args=(arguments, cwd, os.environ | variables, out))
        self._process.start()
        out.close()
        self.stdout = os.fdopen(ours, newline="" if terminal else None, errors="replace")

    def __enter__(self) -> "Begun":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stdout.close()
        self.wait()

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal that killed it, or None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit status once it ends, or None where it has not ended by then."""
        self._process.join(seconds)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal if it still runs."""
        if self.returncode is None:
            os.kill(self._process.pid, number)
