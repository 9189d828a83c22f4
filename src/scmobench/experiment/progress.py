"""Progress of a sweep: one line a run as it ends, and the sum of it all."""

from __future__ import annotations

import os
import time
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from scmobench.machine.files import writable

TOTAL = "SCMOBENCH_SWEEP_RUNS"
PRIMARY = {"predict_modality": "rmse", "match_modality": "match_probability", "joint_embedding": "mean"}


class Progress(Callback):
    """Prints what ended, what was skipped, what failed and how long the rest may take.

    The sum stands with the last run, not with the end of the sweep: Hydra doesn't report the end of a
    sweep in which a run failed.
    """

    def __init__(self) -> None:
        # workers of a parallel sweep are told by the process that started it
        self.total = int(os.environ.get(TOTAL, 1))
        self.begun = time.time()
        self.tally = {"ran": 0, "skipped": 0, "failed": 0}

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Find out whether the folder of runs can be written, before Hydra and the run need it."""
        try:
            writable(config.runs, "name another by runs=FOLDER")
        except OSError as error:
            raise SystemExit(f"scmobench: {error}") from error  # Hydra only warns of other exceptions here

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Count the runs of the sweep: the product over its lists."""
        self.on_run_start(config)
        given = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
        params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        named = {text.split("=", 1)[0] for text in given}
        lists = given + [text for text in params if text.split("=", 1)[0] not in named]
        if "n_trials" in config.hydra.sweeper:  # a search: its lists are what it chooses from
            self.total, lists = config.hydra.sweeper.n_trials, []
        for override in OverridesParser.create().parse_overrides(lists):
            if override.is_sweep_override():
                self.total *= len(list(override.sweep_string_iterator()))
        os.environ[TOTAL] = str(self.total)
        print(f"{self.total} runs", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """One line for the run that ended."""
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
        if sum(self.tally.values()) == self.total > 1:
            tally = ", ".join(f"{number} {state}" for state, number in self.tally.items() if number)
            print(f"{tally} in {(time.time() - self.begun) / 60:.1f} min", flush=True)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """The sum of a sweep whose runs were elsewhere, in workers that each know their own alone."""
        if not any(self.tally.values()) and self.total > 1:
            print(f"{self.total} runs ended in {(time.time() - self.begun) / 60:.1f} min", flush=True)


def _title(config: DictConfig) -> str:
    names = [config.task.name, config.dataset.name, config.direction, config.model.get("name")]
    names += [o for o in config.hydra.overrides.task if o.startswith(("ablation=", "ensemble=", "model."))]
    return f"{' '.join(map(str, names))} seed {config.seed}"


def _line(record: dict[str, Any], state: str) -> str:
    if "task" not in record:
        return f"no run: {record['message']}"
    metric = PRIMARY[record["task"]]
    value = record["scores"].get(metric, {}).get("value")
    score = "n/a" if value is None else f"{value:.4f}"
    took = "finished before" if state == "skipped" else f"{record['seconds']:.1f} s"
    title = (
        f"{record['task']} {record['dataset']} {record['subtask']} {record['method']} seed {record['seed']}"
    )
    return f"{title:<78} {metric} {score}  {took}"
