"""Workers of a parallel sweep: what they need, their threads, and on Ray the user's folder and variables."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial, update_wrapper
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.config import conf_dir
from scmobench.experiment.run import threads
from scmobench.machine.arithmetic import THREADS, VARIABLE, recipe

OURS = "SCMOBENCH_"
EACH = f"{OURS}THREADS"  # of one run; the YAML asks a cluster for as many cores
# a cluster of our own is for nobody else: on the loopback address, as Ray has it on macOS, and with a token
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
# where no cluster answers, say so after a minute and not after twenty
JOINED = {"RAY_NUM_REDIS_GET_RETRIES": "1"}


class Workers(Callback):
    """Gives each worker one thread, or as many as OMP_NUM_THREADS says, whichever launcher starts it.

    Else a run would have all cores, or a share that depends on how many run at once, and other last digits.

    Parameters
    ----------
    requires : package that brings the launcher, and the extra that installs it (see `refuse_lacking`).
    environment : variables to set unless they are set.
    program : that the launcher calls.
    note : printed as the sweep starts.
    """

    def __init__(
        self,
        requires: Mapping[str, str] | None = None,
        environment: Mapping[str, Any] | None = None,
        program: str | None = None,
        note: str = "",
    ) -> None:
        self.environment = {name: str(value) for name, value in (environment or {}).items()}
        self.program = program
        self.note = note

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a single run: it would run here, and not where the launcher is asked to put it."""
        raise SystemExit("scmobench: expected a sweep for `launcher=`, found a single run: add -m")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Set the variables that the workers inherit."""
        if self.program and not shutil.which(self.program):
            raise SystemExit(
                f"scmobench: expected the program {self.program} for this launcher, found none: "
                "start the sweep on a machine of the cluster that submits jobs"
            )
        os.environ[EACH] = each = str(threads() or 1)
        if threads() is None:
            os.environ["OMP_NUM_THREADS"] = each
        for name, value in (dict.fromkeys(THREADS, each) | self.environment).items():
            os.environ.setdefault(name, value)
        if self.note:
            print(self.note, flush=True)


class RayWorkers(Workers):
    """Joins or starts the Ray cluster, before the launcher would.

    A worker of Ray stands where its cluster was started and has the variables of there. Here it enters the
    folder that the user stands in, for relative paths, with the user's threads, arithmetic and SCMOBENCH_
    variables.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Connect under ``hydra.launcher.ray.init``; the launcher finds it done."""
        super().on_multirun_start(config)
        given = OmegaConf.to_container(config.hydra.launcher.ray.init, resolve=True)
        for name, value in (ALONE if given["address"] == "local" else JOINED).items():
            os.environ.setdefault(name, value)
        import ray

        begin = update_wrapper(partial(enter, os.getcwd()), enter)  # Ray wants its name
        asked = given.pop("runtime_env", None) or {}
        worker = {"worker_process_setup_hook": begin} | asked
        worker["env_vars"] = handed_on() | (asked.get("env_vars") or {})
        try:
            ray.init(**given, runtime_env=worker)
        except (ConnectionError, RuntimeError, ValueError, TypeError, ray.exceptions.RayError) as error:
            raise SystemExit(
                f"scmobench: expected a Ray cluster at {given['address']}, found {error}: is it running, is "
                "this its version of Ray, and where it asks for a token, is RAY_AUTH_MODE=token set here?"
            ) from error


def handed_on() -> dict[str, str]:
    """The user's variables that a worker elsewhere needs: threads, arithmetic, SCMOBENCH_."""
    own = {k: v for k, v in os.environ.items() if k in THREADS or k.startswith(OURS)}
    return own | (recipe() if own.get(VARIABLE) == "portable" else {})


def enter(folder: str) -> None:
    """Begin a worker in the folder that the sweep was started in.

    Raises
    ------
    FileNotFoundError : this machine doesn't see it.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"expected the folder of the sweep, {folder}, on every machine of the cluster, found none here: "
            "start it in one that all see"
        )
    os.chdir(folder)


def refuse_lacking(overrides: Sequence[str]) -> None:
    """Check that the package behind a shipped launcher is installed; Hydra would say that there is none.

    Raises
    ------
    ValueError : it is not; says how to install it.
    """
    for name in [o.partition("=")[2] for o in overrides if o.startswith("launcher=")]:
        file = conf_dir() / "launcher" / f"{name}.yaml"
        node = OmegaConf.load(file) if file.is_file() else OmegaConf.create()
        for package, extra in (OmegaConf.select(node, "hydra.callbacks.launcher.requires") or {}).items():
            try:
                version(package)
            except PackageNotFoundError as error:
                raise ValueError(
                    f"expected {package} for launcher={name}, found it not installed: "
                    f"pip install 'scmobench[{extra}]', in the checkout pip install -e '.[{extra}]'"
                ) from error
