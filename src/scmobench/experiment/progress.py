"""Progress of a sweep: one line for each run as it ends, and a summary."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from scmobench.experiment.arguments import key
from scmobench.experiment.evaluate import primary
from scmobench.machine.files import writable

TOTAL = "SCMOBENCH_SWEEP_RUNS"


class Progress(Callback):
    """Prints which runs ended, were skipped or failed, and how long the rest may take.

    The last run prints the summary, because Hydra does not report the end of a sweep in which a run failed.
    """

    def __init__(self) -> None:
        self.total = int(os.environ.get(TOTAL, 1))  # the process that starts a sweep tells its workers
        self.begun = time.time()
        self.tally: Counter[str] = Counter()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check that the folder of runs can be written, before Hydra and the run need it."""
        try:
            writable(config.runs, "name another by runs=FOLDER")
        except OSError as error:
            raise SystemExit(f"scmobench: {error}") from error  # Hydra only warns of other exceptions here

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the runs of the sweep: the product over its lists."""
        self.on_run_start(config)
        given = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
        params = [f"{name}={value}" for name, value in (config.hydra.sweeper.get("params") or {}).items()]
        named = set(map(key, given))
        lists = given + [text for text in params if key(text) not in named]
        if "n_trials" in config.hydra.sweeper:  # a search: its lists are what it chooses from
            self.total, lists = config.hydra.sweeper.n_trials, []
        for override in OverridesParser.create().parse_overrides(lists):
            if override.is_sweep_override():
                self.total *= len(list(override.sweep_string_iterator()))
        os.environ[TOTAL] = str(self.total)
        print(f"{self.total} runs", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Print a line for the run that ended."""
        failed = job_return.status == JobStatus.FAILED
        record = {} if failed else job_return.return_value
        state = "failed" if failed else "skipped" if record.get("skipped") else "ran"
        self.tally[state] += 1
        number = config.hydra.job.num + 1 if self.total > 1 else 1
        remaining = (time.time() - self.begun) / number * (self.total - number)
        where = f"[{number}/{self.total}]" if self.total > 1 else ""
        left = f"  ({remaining / 60:.0f} min left)" if remaining > 90 else ""
        text = f"FAILED {_title(config)}: {job_return._return_value}" if failed else _line(record, state)
        print(f"{where:<10}{text}{left}", flush=True)
        if self.tally.total() == self.total > 1:
            states = ", ".join(f"{self.tally[s]} {s}" for s in ("ran", "skipped", "failed") if self.tally[s])
            print(f"{states} in {(time.time() - self.begun) / 60:.1f} min", flush=True)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the summary of a sweep in workers, which know only their own runs."""
        if not self.tally and self.total > 1:
            print(f"{self.total} runs ended in {(time.time() - self.begun) / 60:.1f} min", flush=True)


def _title(config: DictConfig) -> str:
    names = [config.task.name, config.dataset.name, config.direction, config.model.get("name")]
    names += [o for o in config.hydra.overrides.task if o.startswith(("ablation=", "ensemble=", "model."))]
    return f"{' '.join(map(str, names))} seed {config.seed}"


def _line(record: dict[str, Any], state: str) -> str:
    if "task" not in record:
        return f"no run: {record['message']}"
    metric = primary(record["task"]).name
    value = record["scores"].get(metric, {}).get("value")
    score = "n/a" if value is None else f"{value:.4f}"
    took = "finished before" if state == "skipped" else f"{record['seconds']:.1f} s"
    title = " ".join(record[name] for name in ("task", "dataset", "subtask", "method"))
    title += f" seed {record['seed']}"
    return f"{title:<78} {metric} {score}  {took}"
