"""The Hydra application behind ``scmobench run``: one experiment, or each experiment of a sweep."""

import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, env_override
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from scmobench.experiment import display, records
from scmobench.experiment.arguments import as_text, lazy_help, sorted_arguments
from scmobench.experiment.choices import OPTIONS as SETTINGS
from scmobench.experiment.ensemble import run_ensemble
from scmobench.experiment.evaluate import primary
from scmobench.experiment.launcher import killed, leave, refuse_lacking
from scmobench.experiment.loader import USER_ERRORS, conf_dir, one_line, refuse_hidden
from scmobench.experiment.plan import Plan, idle, method_name
from scmobench.experiment.run import run
from scmobench.experiment.search import NO_SCORE, config_folder
from scmobench.experiment.sweep_progress import LEDGER, TOTAL, end_of_sweep, place
from scmobench.experiment.validate import checked, naming_choice
from scmobench.machine import terminal
from scmobench.machine.memory import within_memory


def launch(arguments: Sequence[str]) -> None:
    """Run one experiment or a sweep, with ``-q`` quietly. Raises the error of the first run that failed."""
    quiet = any(argument in ("-q", "--quiet") for argument in arguments)
    arguments = [argument for argument in arguments if argument not in ("-q", "--quiet")]
    sys.path.append(os.getcwd())  # for a method of the user's own, named in `modules`
    options, overrides = sorted_arguments(arguments, SETTINGS.split())
    for folder in [value for name, value in pairwise(options) if name in ("--config-dir", "-cd")]:
        refuse_hidden(folder)
    refuse_lacking(overrides)
    sys.argv = ["scmobench run", *options, *as_text(overrides)]
    # Hydra passes errors on, so that the command line can say them; a sweep counts its own runs alone
    own, begun = {"HYDRA_FULL_ERROR": "1", TOTAL: "1", LEDGER: ""}, time.time()
    own |= {terminal.QUIET: "1"} if quiet else {}
    with lazy_help(), env_override(own):
        try:
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(experiment)()
        except ValueError as error:
            if str(error) == "Record does not exist.":  # Optuna's words
                raise ValueError(NO_SCORE) from error
            raise
        except Exception as error:
            if not (told := killed(error)):
                raise
            raise SystemExit(f"scmobench: {told}") from error
        finally:
            leave()
            end_of_sweep(begun)


def _returned(job: JobReturn, told: Callable[[JobReturn], Any] = JobReturn.return_value.fget) -> Any:
    with redirect_stderr(io.StringIO()):  # Hydra lists the overrides; the line of the run has said all
        return told(job)


JobReturn.return_value = JobReturn.return_value.getter(_returned)


class Scored(dict[str, Any]):
    """A record that is also a number, the score that ranks its task, for a sweeper that searches."""

    def __float__(self) -> float:
        value = self["scores"][primary(self["task"]).name]["value"]
        if value is None:
            raise ValueError(f"{self['method']} has no score to search by")
        return float(value)


def experiment(cfg: DictConfig) -> dict[str, Any]:
    """Make one run, and return its record. A run that fails leaves a failed record, and raises its error."""
    plan, job = None, HydraConfig.get()
    try:
        given = list(job.overrides.task)
        folder = config_folder(job)
        plan = Plan(cfg, method_name(cfg, given, folder), given, folder)
        checked(plan)
        with terminal.hushed(alone=True), within_memory():
            if not (told := idle(plan)):
                number = 0
                if os.environ.get(LEDGER):
                    number = job.job.num  # Hydra counts the jobs of a sweep alone
                else:
                    display.begins(plan)
                with terminal.bar(place(number, f"{plan.name} seed {cfg.seed}")), naming_choice(plan):
                    return Scored(run_ensemble(plan) if cfg.ensemble.members else run(plan))
    except BaseException as error:
        # only a plain interrupt is the user's; Ray marks the exit of a worker that it ends
        if type(error) is KeyboardInterrupt or hasattr(error, "ray_terminate_msg"):
            raise
        if type(error.__context__) is KeyboardInterrupt or type(error).__name__ == "SIGTERMException":
            raise KeyboardInterrupt from error  # Lightning turns it into an exit
        failed = failure(error, plan, cfg.modules)
        if failed is error:
            raise
        raise failed from error
    if job.mode == RunMode.RUN:
        raise SystemExit(f"scmobench: {told}")
    return {"skipped": True, "message": told}  # sweeps cross lists of ablations with lists of datasets


def failure(error: BaseException, plan: Plan | None, modules: Sequence[str]) -> BaseException:
    """Write a failed record if the fit had begun, and return what the run raises so that a sweep goes on."""
    if not isinstance(error, Exception):  # raised by the model; nothing above would catch it
        name = type(error).__name__
        did = f"called sys.exit({error.code!r})" if name == "SystemExit" else f"raised {name}({error})"
        told = f"expected fit and predict to return, or to raise an Exception, found that the run {did}"
        error = ValueError(told).with_traceback(error.__traceback__)
    lost = records.write_failure(plan.cfg.runs, plan.attempt, error) if plan and plan.begun else ""
    place = f"{place_in_modules(error, modules)} {lost}".strip()
    told = isinstance(error, USER_ERRORS) or (isinstance(error, TypeError) and place.startswith("("))
    if os.environ.get("SCMOBENCH_TRACEBACK") or not told:
        if place:
            error.add_note(place)
        return error
    told = f"{one_line(error)} {place}".strip()
    if HydraConfig.get().mode == RunMode.RUN:
        return SystemExit(f"scmobench: {told}")
    return CompactHydraException(told)  # without a traceback of Hydra


def place_in_modules(error: BaseException, modules: Sequence[str]) -> str:
    """File and line in the user's own code that raised the error; empty if it came from elsewhere."""
    names = {modules} if isinstance(modules, str) else set(modules)
    own = {str(getattr(m, "__file__", "")) for name, m in sys.modules.items() if name.split(".")[0] in names}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in own]
    if not frames:
        return ""
    hint = ""
    if "NoneType" in str(error):
        hint = "; fit is given data.test_mod1 where the class says `transductive = True`, "
        hint += "data.labels where it says `label_supervised = True`"
    return f"({Path(frames[-1].filename).name}, line {frames[-1].lineno}{hint})"
