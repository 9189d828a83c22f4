"""The command line, here or in a process of its own, and a method that its user brings."""

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

from begun import Begun
from scmobench.cli import main


def forget(folder: Path) -> None:
    """Modules of a user's own, from files in ``folder``: another test has others of the same name."""
    for name, module in list(sys.modules.items()):
        if str(vars(module).get("__file__")).startswith(f"{folder}{os.sep}"):
            del sys.modules[name]
    importlib.invalidate_caches()


def here(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command in this process, which spares a start of Python."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, variables),
        mock.patch.object(sys, "path", list(sys.path)),
        mock.patch.object(sys, "argv", list(sys.argv)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(arguments)
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 1
            err.write("" if isinstance(stopped.code, int) else f"{stopped.code}\n")
        forget(cwd)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def scmobench(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, with environment variables of its own."""
    line = [sys.executable, "-m", "scmobench", *arguments]
    given = os.environ | variables
    return subprocess.run(line, cwd=cwd, env=given, capture_output=True, text=True, check=False)


def begin(*arguments: str, cwd: Path, terminal: bool = False, **variables: str) -> Begun:
    """The command in a process that goes on by itself; its errors come with its output.

    On a ``terminal``, its output comes with the codes that move the cursor.
    """
    return Begun(arguments, cwd, terminal, variables)


def forked(*arguments: str, cwd: Path, **variables: str) -> tuple[int, str]:
    """Exit status and output of the command in a process that need not import what it needs."""
    with begin(*arguments, cwd=cwd, **variables) as process:
        said = process.stdout.read()
    return process.returncode, said


def on_a_terminal(*arguments: str, cwd: Path) -> str:
    """What the command shows on a terminal, without the codes that move the cursor and colour."""
    shown = ""
    with begin(*arguments, cwd=cwd, terminal=True) as process, contextlib.suppress(OSError):
        for line in process.stdout:  # Linux raises OSError where a terminal's other end is closed
            shown += line
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", shown).replace("\r", "\n")


OWN = ("--config-dir", "mine", "modules=[my_method]", "dataset=tiny_cite")  # what runs such a method


def own_model(folder: Path, body: str) -> None:
    """A method of the user's own in ``folder``: its YAML, and its class with this body of `fit` and more."""
    (folder / "mine" / "model").mkdir(parents=True)
    yaml = "name: own\nkind: method\npredict_modality: {_target_: my_method.Own}\n"
    (folder / "mine" / "model" / "own.yaml").write_text(yaml)
    head = "import numpy as np\nfrom scmobench.models.base import Model\n\n\nclass Own(Model):\n"
    (folder / "my_method.py").write_text(f"{head}    def fit(self, data, seed):\n{body}")
