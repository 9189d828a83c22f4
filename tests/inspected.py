"""The inspection of foreign files in a fork of this process, which spares a start of Python for each."""

import io
import os
import subprocess
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

import psutil

from scmobench.data import inspection


def run(command: list[str], *, input: str, **_: Any) -> SimpleNamespace:
    """What `foreign` runs, without its limit of time."""
    with tempfile.TemporaryFile("w+") as told:
        pid = os.fork()
        if not pid:
            code = 1
            sys.stdin, sys.stdout = io.StringIO(input), told
            inspection.SPARE += psutil.Process().memory_info().vms
            try:
                inspection.main()
                code = 0
            except SystemExit as end:
                code = end.code
            finally:
                told.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        told.seek(0)
        return SimpleNamespace(returncode=code, stdout=told.read(), stderr="")


FORKED = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
