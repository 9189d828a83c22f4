"""What a run prints: what it is about to do, and its scores."""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scmobench.experiment import records
from scmobench.experiment.applicable import lacking
from scmobench.experiment.evaluate import Metric, PairedTest, metrics, primary
from scmobench.experiment.plan import Plan
from scmobench.machine import terminal
from scmobench.machine.files import file_name
from scmobench.types import EmbeddingData, Problem

ALPHA = 0.05
ARROWS = {"max": "↑", "min": "↓"}


def title(run: Mapping[str, Any]) -> str:
    """A run in one line; a score that only chooses settings says so."""
    where = " ".join(str(run[name]) for name in ("task", "dataset", "subtask", "method"))
    return f"{where} seed {run['seed']}{held_out(run)}"


def held_out(run: Mapping[str, Any]) -> str:
    """The mark of a score that chooses settings, `` (score_on=validation)``; no table shows such a score."""
    chosen = (run.get("config") or {}).get("score_on")
    return f" (score_on={chosen})" if chosen else ""


def begins(plan: Plan) -> None:
    """Say what a single run is about to do, and which metrics its data do not support."""
    cfg = plan.cfg
    terminal.announce(f"{plan.name} on {cfg.dataset.name}: {cfg.task.name}, seed {cfg.seed}")
    problem = plan.problem
    places = (cfg.task.name, problem.data.dataset, problem.data.subtask, plan.name)
    terminal.announce(f"  {contents(problem)}\n  writes to {Path(cfg.runs, *map(file_name, places))}\n")
    reasons = defaultdict(list)
    for name, reason in lacking(cfg.task.name, problem.solution).items():
        reasons[reason].append(name)
    for reason, names in reasons.items():
        print(f"{', '.join(names)} cannot be scored: {reason}", file=sys.stderr, flush=True)


def contents(problem: Problem) -> str:
    """The cells and features of a problem in words."""
    data = problem.data
    if isinstance(data, EmbeddingData):
        both, train = (data.mod1, data.mod2), int(data.mod1.obs["is_train"].sum())
        cells = f"{data.mod1.n_obs:,} cells, {train:,} of them for training"
    else:
        both = (data.train_mod1, data.train_mod2)
        cells = f"{both[0].n_obs:,} training and {problem.solution.n_obs:,} test cells"
    kinds = zip(data.subtask.replace("-", "2").split("2"), both, strict=True)
    return f"{cells}, {' and '.join(f'{part.n_vars:,} {kind}' for kind, part in kinds)} features"


def value(score: Mapping[str, Any]) -> str:
    """A score as tables print it."""
    return "n/a" if score["value"] is None else f"{score['value']:.4f}"


def scores(
    task: str, found: Mapping[str, Mapping[str, Any]], interval: Mapping[str, Any] | None = None
) -> None:
    """Print a table of every metric: better direction, value, interval, and the reason of a missing value."""
    rows = []
    for name, metric in metrics(task).items():
        if score := found.get(name):
            low_high = (interval or {}).get(name)
            between = f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else ""
            rows.append((name, ARROWS[metric.direction], value(score), between, score.get("reason") or ""))
    kept = [i for i in range(5) if i < 3 or any(row[i] for row in rows)]
    head = ("metric", "better", "value", "95 % interval", "note")
    terminal.table([[row[i] for i in kept] for row in rows], [head[i] for i in kept], right=(2,))


def verdict(metric: Metric, test: PairedTest, a: str, b: str) -> str:
    """In one sentence, which of two predictions is better, by how much and how surely."""
    if test.difference == 0 and test.p_value == 1:
        return f"{a} and {b} are equally good: {metric.name} {test.a:.4f} on {test.n:,} cells"
    p_value = "p < 0.0001" if test.p_value < 1e-4 else f"p = {test.p_value:.4f}"
    sure = f"{p_value}, {test.n:,} cells"
    if not (test.low * test.high > 0 and test.p_value < ALPHA):
        told = f"{metric.name} {test.a:.4f} of {a} against {test.b:.4f} of {b}"
        told += f", difference {test.difference:.4f}"
        return f"no clear difference: {told} (95 % interval {test.low:.4f} to {test.high:.4f}, {sure})"
    first = (test.difference < 0) == (metric.direction == "min")
    better, value, other = (a, test.a, test.b) if first else (b, test.b, test.a)
    low, high = sorted((abs(test.low), abs(test.high)))
    told = f"{metric.name} {value:.4f} against {other:.4f}, gap {abs(test.difference):.4f}"
    return f"{better} is better: {told} (95 % interval {low:.4f} to {high:.4f}, {sure})"


def outcome(record: Mapping[str, Any], runs: str) -> None:
    """Print what came out of a single run: all metrics, what it cost, and where its files are."""
    print(f"{title(record)}{'  (finished before)' if record.get('skipped') else ''}")
    scores(record["task"], record["scores"], record["interval"])
    where = records.folder(runs, record)
    print(f"{record['seconds']:.1f} s, {record['peak_memory_gb']:.2f} GB of memory")
    print(f"prediction  {where / records.PREDICTION}")
    print(f"record      {where / records.RECORD}", flush=True)


def line(record: Mapping[str, Any]) -> str:
    """What came out of a run in one line, with the reason where it has no score or did not take place."""
    if "task" not in record:
        return f"no run: {record['message']}"
    metric = primary(record["task"]).name
    score = record["scores"].get(metric) or {"value": None, "reason": "not scored"}
    took = "finished before" if record.get("skipped") else f"{record['seconds']:.1f} s"
    reason = f" ({score['reason']})" if score["value"] is None and score.get("reason") else ""
    return f"{title(record):<70} {metric} {value(score)}{reason}  {took}"


def summary(ended: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of the methods of a sweep: mean and standard deviation over seeds, the best first."""
    groups = defaultdict(list)
    for one in ended:
        groups[one["task"], one["dataset"], one["subtask"]].append(one)
    for place, found in groups.items():
        metric = primary(place[0])
        print(f"\n{' '.join(place)}: {metric.name} {ARROWS[metric.direction]}")
        terminal.table(_standing(metric, found), ("method", "mean ± sd", "seeds", "seconds"), right=(2, 3))


def _standing(metric: Metric, found: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    methods = defaultdict(dict)
    for one in found:
        methods[one["method"]][one["seed"]] = one
    rows = []
    for method, its in ((name, list(seeds.values())) for name, seeds in methods.items()):
        known = [one["value"] for one in its if one["value"] is not None]
        mean = fmean(known) if known else None
        spread = f" ± {stdev(known):.4f}" if len(known) > 1 else ""
        shown = "—" if mean is None else f"{mean:.4f}{spread}"
        if len(known) < len(its):
            reason = next(one["reason"] for one in its if one["value"] is None)
            shown += f"  ({len(its) - len(known)} without a value: {reason})"
        order = float("inf") if mean is None else mean if metric.direction == "min" else -mean
        rows.append((order, method, shown, len(its), f"{fmean(one['seconds'] for one in its):.1f}"))
    return [row[1:] for row in sorted(rows, key=lambda row: row[:2])]
