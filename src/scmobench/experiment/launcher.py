"""Workers of a parallel sweep: their requirements, threads, folder and variables."""

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from scmobench.experiment.config import conf_dir
from scmobench.machine.arithmetic import THREADS, VARIABLE, recipe, threads
from scmobench.machine.terminal import QUIET

OURS = "SCMOBENCH_"
EACH = f"{OURS}THREADS"  # of one run; the YAML asks a cluster for as many cores
# a cluster of our own takes nobody else: it is on the loopback address, as on macOS, and asks for a token
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
# stop after a minute, and not after twenty, if no cluster answers
JOINED = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
KILLED = {  # package: its errors of a worker that died without a word, and what gives a run more memory
    "joblib": ("TerminatedWorkerError", "lower hydra.launcher.n_jobs"),
    "ray": ("WorkerCrashedError OutOfMemoryError NodeDiedError", "raise hydra.launcher.ray.remote.num_cpus"),
    "submitit": ("UncompletedJobError", "raise hydra.launcher.mem_gb or timeout_min"),
}


@dataclass
class Workers(Callback):
    """Gives each worker one thread, or OMP_NUM_THREADS threads, with every launcher.

    A worker would otherwise use all cores, or a share that depends on how many runs there are at once, and
    the last digits of its results would differ.
    """

    requires: Mapping[str, str] | None = None  # package that brings the launcher -> extra (`refuse_lacking`)
    newest_python: str | None = None  # the newest version of Python for which the extra installs it
    environment: Mapping[str, Any] = field(default_factory=dict)  # to set unless they are set
    program: str | None = None  # that the launcher calls
    note: str = ""  # printed as the sweep starts

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a single run: it would run here, and not where the launcher would put it."""
        raise SystemExit("scmobench: expected a sweep for `launcher=`, found a single run: add -m")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Set the variables that the workers inherit. They show no bars, which would overwrite each other."""
        if self.program and not shutil.which(self.program):
            raise SystemExit(
                f"scmobench: expected the program {self.program} for this launcher, found none: "
                "start the sweep on a machine of the cluster that submits jobs"
            )
        os.environ[QUIET] = "1"
        os.environ[EACH] = each = str(threads() or 1)
        if threads() is None:
            os.environ["OMP_NUM_THREADS"] = each
        for name, value in (dict.fromkeys(THREADS, each) | dict(self.environment)).items():
            os.environ.setdefault(name, str(value))
        if self.note:
            print(self.note, flush=True)


class RayWorkers(Workers):
    """Joins or starts the Ray cluster, before the launcher would.

    A Ray worker starts in the folder and with the variables of its cluster. This moves it to the user's
    folder, for relative paths, with the user's threads, arithmetic and SCMOBENCH_ variables.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Connect under ``hydra.launcher.ray.init``; the launcher finds the connection."""
        super().on_multirun_start(config)
        given = OmegaConf.to_container(config.hydra.launcher.ray.init, resolve=True)
        for name, value in (ALONE if given["address"] == "local" else JOINED).items():
            os.environ.setdefault(name, value)
        import ray

        begin = update_wrapper(partial(enter, os.getcwd()), enter)  # Ray asks for its name
        asked = given.pop("runtime_env", None) or {}
        worker = {"worker_process_setup_hook": begin} | asked
        worker["env_vars"] = handed_on() | (asked.get("env_vars") or {})
        ours = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**given, runtime_env=worker)
        except (ConnectionError, RuntimeError, ValueError, TypeError, ray.exceptions.RayError) as error:
            raise SystemExit(
                f"scmobench: expected a Ray cluster at {given['address']}, found {error}: check that it is "
                "running with this version of Ray, and set RAY_AUTH_MODE=token here if it asks for a token"
            ) from error
        signal.signal(signal.SIGTERM, ours)  # Ray's own would abort


def killed(error: BaseException) -> str:
    """What to say of a worker that was killed; empty for another error."""
    names, room = KILLED.get(type(error).__module__.partition(".")[0], ("", ""))
    if type(error).__name__ not in names.split():
        return ""
    told = f"expected workers that end by themselves, found one killed, often for lack of memory: {room}"
    return f"{told}; what is finished stays, the same command makes the rest"


def leave() -> None:
    """Leave a Ray cluster, once the last lines of its workers are printed."""
    if ray := sys.modules.get("ray"):
        ray.shutdown(_exiting_interpreter=True)


def handed_on() -> dict[str, str]:
    """The user's variables that a worker elsewhere needs: threads, arithmetic, SCMOBENCH_."""
    own = {k: v for k, v in os.environ.items() if k in THREADS or k.startswith(OURS)}
    return own | (recipe() if own.get(VARIABLE) == "portable" else {})


def enter(folder: str) -> None:
    """Enter the folder of the sweep. Raises FileNotFoundError if this machine does not see it."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f"expected the folder of the sweep, {folder}, on every machine of the cluster, found none here: "
            "start it in a folder that all machines see"
        )
    os.chdir(folder)


def refuse_lacking(overrides: Sequence[str]) -> None:
    """Raise ValueError, with the command that installs it, if the package of a launcher is missing."""
    for name in [o.partition("=")[2] for o in overrides if o.startswith("launcher=")]:
        file = conf_dir() / "launcher" / f"{name}.yaml"
        node = OmegaConf.load(file) if file.is_file() else OmegaConf.create()
        callback = OmegaConf.select(node, "hydra.callbacks.launcher") or {}
        for package, extra in (callback.get("requires") or {}).items():
            try:
                version(package)
            except PackageNotFoundError as error:
                remedy = f"pip install 'scmobench[{extra}]', in the checkout pip install -e '.[{extra}]'"
                newest = callback.get("newest_python")
                if newest and sys.version_info[:2] > tuple(map(int, newest.split("."))):
                    remedy = f"take another launcher, or Python {newest} or older"
                raise ValueError(
                    f"expected {package} for launcher={name}, found it not installed: {remedy}"
                ) from error
