"""The command line in a process of its own, and a method that its user brings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path


def scmobench(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, with environment variables of its own."""
    line = [sys.executable, "-m", "scmobench", *arguments]
    given = os.environ | variables
    return subprocess.run(line, cwd=cwd, env=given, capture_output=True, text=True, check=False)


def begin(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a process that goes on by itself; its errors come with its output.

    It hears an interrupt, also where the tests run in the background of a shell, which has it ignored.
    """
    line = [sys.executable, "-m", "scmobench", *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(line, cwd=cwd, preexec_fn=heard, **output)


def own_model(folder: Path, body: str) -> None:
    """A method of the user's own in ``folder``: its YAML, and its class with this body of `fit` and more."""
    (folder / "mine" / "model").mkdir(parents=True)
    yaml = "name: own\nkind: method\npredict_modality: {_target_: my_method.Own}\n"
    (folder / "mine" / "model" / "own.yaml").write_text(yaml)
    head = "import numpy as np\nfrom scmobench.models.base import Model\n\n\nclass Own(Model):\n"
    (folder / "my_method.py").write_text(f"{head}    def fit(self, data, seed):\n{body}")
