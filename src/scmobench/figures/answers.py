"""Kept runs with their predictions: which of them a picture shows, and what they predict."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd
from anndata import AnnData

from scmobench.experiment import kept
from scmobench.experiment.config import compose, names
from scmobench.experiment.evaluate import primary
from scmobench.experiment.exchange import read_predictions
from scmobench.experiment.kept import Kept
from scmobench.experiment.plan import Plan
from scmobench.experiment.records import PREDICTION, RECORD, prediction_hash
from scmobench.leaderboard.roster import VARIANT, number
from scmobench.types import TASKS, Paired

MOST = 4  # methods beside each other
ALWAYS = "scmognn"  # shown first wherever it was run
CONTROLS = {"match_modality": ("constant",), "joint_embedding": ("gex_only", "mod2_only")}
PLACE = ("task", "dataset", "subtask")


@dataclass(frozen=True)
class ComparedRuns:
    """One task on one data set in one direction, as it was planned, and its runs by method, best first."""

    plan: Plan
    runs: Mapping[str, Sequence[Kept]]

    @property
    def place(self) -> tuple[str, str, str]:
        """Task, data set and subtask."""
        return self.plan.task.name, self.plan.cells.name, self.plan.problem.data.subtask

    def answers(self) -> list[tuple[Kept, AnnData]]:
        """Runs that a picture shows, with their predictions as the metrics take them, all of one seed.

        scMoGNN comes first, then the best other methods, then controls.
        """
        task, solution = self.plan.task, self.plan.problem.solution
        shown = self._shown()
        answers = []
        for run, found in zip(shown, read_predictions(solution, *map(_file, shown)), strict=True):
            if prediction_hash(found) == run.get("prediction_hash"):
                answers.append((run, task.check(found, solution)[0]))
            else:
                _left_out(run, "its prediction is not the one that the record describes: add force=true")
        return answers

    def _shown(self) -> list[Kept]:
        methods = [m for m, runs in self.runs.items() if (runs[0].get("kind") or "method") == "method"]
        methods = [m for m in methods if not VARIANT.search(m)]
        methods.sort(key=lambda method: method != ALWAYS)  # it looks the same in all pictures
        controls = [name for name in CONTROLS.get(self.plan.task.name, ()) if name in self.runs]
        by_seed = [{run["seed"]: run for run in self.runs[name]} for name in (*methods[:MOST], *controls)]
        if not by_seed:
            return []
        common = set.intersection(*map(set, by_seed)) or {None}
        seed = min(common, key=lambda seed: (isinstance(seed, str), seed or 0))
        return [runs.get(seed) or next(iter(runs.values())) for runs in by_seed]


def problems(folders: Iterable[Path]) -> list[ComparedRuns]:
    """The runs below some folders, by task, data set and subtask, with their cells loaded.

    Runs of other cells than the data set has now are left out with a line.

    Raises FileNotFoundError if there is no such folder, and ValueError for a file that is not a record, or if
    there is no run with a prediction.
    """
    runs = [run for run in _last(folders) if run["task"] in TASKS and _has_prediction(run)]
    if not runs:
        places = ", ".join(map(str, folders))
        raise ValueError(
            f"expected runs with {PREDICTION} below {places}, found none: name the folder that `scmobench "
            "run` wrote to (--runs)"
        )
    found: list[ComparedRuns] = []
    cells: dict[str, Paired | None] = {}
    for task in TASKS:
        same = [run for run in runs if run["task"] == task]
        groups = [list(its) for _, its in groupby(same, lambda run: (run["dataset"], run["subtask"]))]
        planned = [(plan, _of_now(its, plan)) for its in groups if (plan := _plan(its[0], cells))]
        order = _order([run for _, its in planned for run in its], task)
        for plan, its in planned:
            its.sort(key=lambda run: ([*order, run["method"]].index(run["method"]), run["method"]))
            by_method = {method: list(same) for method, same in groupby(its, lambda run: run["method"])}
            found += [ComparedRuns(plan, by_method)] if its else []
    return found


def _last(folders: Iterable[Path]) -> list[Kept]:
    """The last finished attempt at each run, sorted."""
    done = [run for run in kept.read(folders) if run.where.name == RECORD and run["status"] == "ok"]
    attempts = sorted(done, key=kept.turn)
    last = {tuple(run[name] for name in (*PLACE, "method", "seed", "data_hash")): run for run in attempts}
    return [last[key] for key in sorted(last, key=kept.sortable)]


def _has_prediction(run: Kept) -> bool:
    if not (present := _file(run).is_file()):
        _left_out(run, f"expected its prediction at {_file(run)}, found none")
    return present


def _left_out(run: Kept, reason: str) -> None:
    again = " ".join(f"{key}={run[key]}" for key in ("task", "dataset", "direction", "seed"))
    again = run.get("command") or f"scmobench run {again} model={run['method'].split('+')[0]}"
    print(
        f"{run['method']} on {run['dataset']} {run['subtask']} seed {run['seed']} is left out: "
        f"{reason}; to make it again: {again}",
        file=sys.stderr,
    )


def _file(run: Kept) -> Path:
    return run.where.with_name(PREDICTION)


def _order(runs: Sequence[Kept], task: str) -> list[str]:
    """Methods of a task by their mean rank over its subtasks; those that lack a subtask come last."""
    metric = primary(task)
    table = pd.DataFrame(runs, columns=["dataset", "subtask", "method"])
    table["score"] = pd.Series([number(run["scores"].get(metric.name)) for run in runs], dtype=float)
    scores = table.pivot_table(index="method", columns=["dataset", "subtask"], values="score", aggfunc="mean")
    ranks = scores.rank(ascending=metric.direction == "min")
    keys = pd.DataFrame({"lacking": ranks.isna().sum(axis=1), "rank": ranks.mean(axis=1).round(9)})
    return list(keys.sort_index().sort_values(["lacking", "rank"], kind="stable").index)


def _plan(run: Kept, cells: dict[str, Paired | None]) -> Plan | None:
    """The problem of a run with its cells, each loaded once; None, with one line, where they cannot be."""
    task, dataset, direction = (run.get(name) for name in ("task", "dataset", "direction"))
    if cells.get(dataset, ...) is None:
        return None
    try:
        if dataset not in {*names("dataset")} - {"own"}:  # the runs do not say where somebody's cells are
            raise ValueError("pictures show the data sets of `scmobench data list`, not cells of your own")
        cfg = compose([f"task={task}", f"dataset={dataset}", f"direction={direction}"])
        plan = Plan(cfg, paired=cells.get(dataset))
        cells[dataset] = plan.cells
    except (ValueError, OSError) as error:
        print(f"{dataset} is left out: {error}", file=sys.stderr)
        cells[dataset] = None
        return None
    return plan


def _of_now(runs: Sequence[Kept], plan: Plan) -> list[Kept]:
    """The runs that were made from the data set's cells as they are now; a line tells of the others."""
    now = [run for run in runs if run["data_hash"] == plan.cells.hash]
    again = {(run["method"], run["seed"]) for run in now}
    others = [run for run in runs if (run["method"], run["seed"]) not in again]
    if others:
        reason = "its cells are not those of the data set now"
        _left_out(others[0], f"{reason} (runs left out for this: {len(others)})")
    return now
