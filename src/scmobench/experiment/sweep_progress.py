"""Progress of a sweep: one line for each run as it ends, and a summary of all.

Runs may end in other processes, on other machines. Each leaves a line in the sweep's ledger, a file that the
process that began the sweep reads at the end.
"""

import contextlib
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from scmobench.experiment import display, search
from scmobench.experiment.arguments import key
from scmobench.experiment.evaluate import primary
from scmobench.machine.files import writable
from scmobench.machine.terminal import duration

TOTAL = "SCMOBENCH_SWEEP_RUNS"
LEDGER = "SCMOBENCH_SWEEP_LEDGER"  # file of the runs that ended; empty: no sweep
FORGOTTEN = 30 * 86400  # seconds since the last run of a sweep that was killed
MANY = 20  # runs whose settings take Hydra longer than people expect: it composes all before the first begins


class Progress(Callback):
    """Prints which runs ended, were skipped or failed, and how long the rest may take."""

    def __init__(self) -> None:
        self.total = int(os.environ.get(TOTAL, 1))  # the process that starts a sweep tells its workers

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the runs of the sweep: the product over its lists."""
        try:
            folder = writable(config.runs, "name another by runs=FOLDER")
            begins = search.prepare(config) if search.is_search(config) else {}
        except (OSError, ValueError) as error:
            raise SystemExit(f"scmobench: {error}") from error  # Hydra only warns of other exceptions here
        given = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
        params = [f"{name}={value}" for name, value in (config.hydra.sweeper.get("params") or {}).items()]
        named = set(map(key, given))
        lists = given + [text for text in params if key(text) not in named]
        if search.is_search(config):  # its lists are what it chooses from
            self.total, lists = config.hydra.sweeper.n_trials, []
        for override in OverridesParser.create().parse_overrides(lists):
            if override.is_sweep_override():
                self.total *= len(list(override.sweep_string_iterator()))
        os.environ[TOTAL] = str(self.total)
        for old in folder.glob(".sweep-*"):
            with contextlib.suppress(OSError):  # another sweep may remove it
                if time.time() - old.stat().st_mtime > FORGOTTEN:
                    old.unlink()
        with tempfile.NamedTemporaryFile("w", prefix=".sweep-", dir=folder, delete=False) as ledger:
            ledger.write(json.dumps(begins) + "\n")
        os.environ[LEDGER] = str(Path(ledger.name).resolve())
        told = f"{self.total} run{'s' * (self.total != 1)}"
        told += "; all settings are checked first" if self.total > MANY else ""
        if begins and not self.total:
            told = f"all trials are done ({begins['ended']}): a larger hydra.sweeper.n_trials makes more"
        print(told, flush=True)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Begin the clock: what went before, such as the checks of all settings, is no part of a run."""
        self.begun = time.time()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Print the run that ended: in a line for a sweep, else all of it."""
        failed = job_return.status == JobStatus.FAILED
        record = {} if failed else job_return.return_value
        if not os.environ.get(LEDGER):
            if not failed and "task" in record:
                display.outcome(record, config.runs)
            return
        state = "failed" if failed else "skipped" if record.get("skipped") else "ran"
        entry = {"state": state, "begun": self.begun}
        if "task" in record:
            score = record["scores"][primary(record["task"]).name]
            told = ("task", "dataset", "subtask", "method", "seed", "seconds")
            entry |= {name: record[name] for name in told} | score
            entry["subtask"] += display.held_out(record)
        with Path(os.environ[LEDGER]).open("a") as ledger:
            ledger.write(json.dumps(entry) + "\n")
        remaining = _remaining(self.total)
        left = f"  ({duration(remaining)} left)" if remaining > 90 else ""
        text = f"FAILED {_title(config)}: {job_return._return_value}" if failed else display.line(record)
        print(f"{f'[{config.hydra.job.num + 1}/{self.total}]':<10}{text}{left}", flush=True)


def place(number: int, run: str) -> str:
    """The run, and within a sweep which one of them it is and how long the sweep may still take."""
    if not Path(os.environ.get(LEDGER) or os.devnull).is_file():  # perhaps of a sweep that was killed
        return run
    total = int(os.environ[TOTAL])
    left = f", about {duration(_remaining(total))} left" if number else ""
    return f"[{number + 1}/{total}] {run}{left}"


def _remaining(total: int) -> float:
    """Seconds that a sweep may still take, by those since its first run began."""
    _, ended = _read()
    spent = time.time() - min((one["begun"] for one in ended), default=time.time())
    return spent / max(len(ended), 1) * (total - len(ended))


def _read() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How the sweep began, and its runs that ended."""
    begun, *lines = Path(os.environ[LEDGER]).read_text().splitlines()
    ended = []
    for line in lines:
        with contextlib.suppress(ValueError):  # machines may write over each other's lines
            ended.append(json.loads(line))
    return json.loads(begun), ended


def end_of_sweep(begun: float) -> None:
    """Print what came out of a sweep; nothing after a single run."""
    path = Path(os.environ.get(LEDGER) or os.devnull)
    if not path.is_file():
        return
    begun_as, ended = _read()
    path.unlink()
    if "search" in begun_as:
        print(search.found(begun_as), flush=True)
    else:
        display.summary([one for one in ended if "task" in one])
    if not int(os.environ[TOTAL]):  # a search that was finished before
        return
    tally = Counter(one["state"] for one in ended)
    states = ", ".join(f"{tally[s]} {s}" for s in ("ran", "skipped", "failed") if tally[s])
    print(f"\n{states or 'no run ended'} in {duration(time.time() - begun)}", flush=True)


def _title(config: DictConfig) -> str:
    names = [config.task.name, config.dataset.name, config.direction, config.model.get("name")]
    names += [o for o in config.hydra.overrides.task if o.startswith(("ablation=", "ensemble=", "model."))]
    return f"{' '.join(map(str, names))} seed {config.seed}"
