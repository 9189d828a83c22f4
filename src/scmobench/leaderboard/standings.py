"""Standings: mean, spread, rank and control-scaled score of every method, from the records of its runs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from scmobench.leaderboard.roster import (
    COMPARABLE,
    COMPONENTS,
    MEAN_OF_SIX,
    Record,
    comparable,
    latest,
    missing,
    number,
    overall,
)
from scmobench.leaderboard.tables import score

Metadata = Mapping[str, Mapping[str, Mapping[str, Any]]]

LEADING = ["task", "dataset", "subtask", "method", "metric", "mean", "sd", "n", "source"]
COLUMNS = [
    *LEADING,
    *("ci_low", "ci_high", "rank", "scaled", "seconds", "peak_memory_gb", "parameters", "transductive"),
    *("label_supervised", "kind", "normalization", "data_hash", "config_hash", "applicable", "failed"),
    *("reason", "protocol", "task_settings", "device", "n_train", "n_test", "reference"),
    *("n_test_seen", "by_seed"),
]
FLOATS = ["mean", "sd", "ci_low", "ci_high", "scaled", "seconds", "peak_memory_gb"]
INTEGERS = ["n", "rank", "parameters", "failed", "n_train", "n_test", "n_test_seen"]
FLAGS = ["transductive", "label_supervised"]
TIE = 1e-12


def standings(records: Iterable[Record], metrics: Metadata) -> pd.DataFrame:
    """One row a method and metric: mean and unbiased sd over seeds, rank, control-scaled score.

    Parameters
    ----------
    records : runs, in any order. Of repeated runs (same data, method, configuration, seed) the
        last attempt counts.
    metrics : task -> metric -> metadata (``label``, ``direction`` ``min`` or ``max``, ``primary``).

    Returns
    -------
    DataFrame with `COLUMNS`. ``sd`` is NaN for one seed; ``seconds`` and the confidence bounds
    (bootstrap over test cells, one interval a run) are means over seeds, ``peak_memory_gb`` is
    the maximum. ``by_seed`` maps seed to score. ``failed`` counts failed runs.

    Notes
    -----
    A mean of the six embedding metrics that lacks some of them is ranked only among methods that
    lack the same ones, and only where no method of the group has more. It rests on the metrics that
    all of a method's runs have, so that no seed is dropped. Any other metric that some seeds lack is the mean
    of the others, says so in ``reason`` and has neither rank nor scaled score.
    """
    runs = latest(records)
    groups: dict[tuple, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for run in [*runs, *overall(runs)]:
        groups[comparable(run)][run["method"]].append(run)
    rows = []
    for values, methods in sorted(groups.items()):
        key = dict(zip(COMPARABLE, values, strict=True))
        known = metrics.get(key["task"], {})
        group = [row for name in sorted(methods) for row in _method_rows(key, name, methods[name], known)]
        for metric in {row["metric"]: None for row in group}:
            column = [row for row in group if row["metric"] == metric]
            direction = known.get(metric, {}).get("direction", "")
            _rank(column, direction)
            _scale(column, direction)
        rows += group
    return frame(rows)


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a DataFrame of `COLUMNS`, numbers as numbers (missing ones NaN or NA)."""
    table = pd.DataFrame(list(rows), columns=COLUMNS)
    for column in FLOATS:
        table[column] = table[column].astype(float)
    for column in INTEGERS:
        table[column] = table[column].astype("Int64")
    for column in FLAGS:
        table[column] = table[column].astype("boolean")
    return table


def _method_rows(key: dict[str, str], method: str, runs: list[Record], known: Mapping) -> list[dict]:
    done = [r for r in runs if r.get("status") == "ok"]
    present = {metric for run in done for metric in run.get("scores") or {}}
    order = [m for m in known if m in present] + sorted(present - set(known))
    if not done:
        order = [m for m in known if known[m].get("primary")][:1] or [""]
    shared = {
        **{column: None for column in COLUMNS},
        **key,
        **_resources(done),
        "method": method,
        "source": "ours",
        "transductive": any(r.get("transductive") for r in runs),
        "label_supervised": any(r.get("label_supervised") for r in runs),
        "kind": runs[0].get("kind") or "method",
        "config_hash": "+".join(sorted({r["config_hash"] for r in runs if r.get("config_hash")})),
        "failed": len(runs) - len(done),
    }
    return [{**shared, "metric": metric, **_summary(key["task"], metric, done)} for metric in order]


def _resources(runs: Sequence[Record]) -> dict[str, Any]:
    def column(name: str) -> list[float]:
        return [r[name] for r in runs if r.get(name) is not None]

    seconds = column("seconds")
    return {
        "seconds": math.fsum(seconds) / len(seconds) if seconds else None,
        "peak_memory_gb": max(column("peak_memory_gb"), default=None),
        "parameters": max(column("parameters"), default=None),
        "n_train": max(column("n_train"), default=None),
        "n_test": max(column("n_test"), default=None),
        "n_test_seen": max(column("n_test_seen"), default=None),
        "device": "+".join(sorted({str(r["device"]) for r in runs if r.get("device")})),
    }


def _summary(task: str, metric: str, runs: Sequence[Record]) -> dict[str, Any]:
    """Mean, sd, n and mean interval of one metric over one method's finished runs."""
    extra: dict[str, Any] = {"applicable": "", "reason": ""}
    scores = {r["seed"]: r["scores"][metric] for r in runs if metric in r["scores"]}
    values = {s: v for s, score in scores.items() if (v := number(score)) is not None}
    if scores and not values:
        extra["reason"] = _why(scores.values())
    elif len(values) < len(scores):  # a mean of the seeds that could be scored stands beside no mean of all
        extra["reason"] = f"{len(values)} of {len(scores)} seeds; else {_why(scores.values())}"
    if (task, metric) == MEAN_OF_SIX and runs:
        lacking = {name for run in runs for name in missing(run)}
        kept = [name for name in COMPONENTS if name not in lacking]
        extra["applicable"] = f"{len(kept)}/{len(COMPONENTS)}"
        if lacking:
            extra["reason"] = f"without {', '.join(name for name in COMPONENTS if name in lacking)}"
        if len({missing(run) for run in runs}) > 1:  # each run's own mean is over other metrics
            values = {
                r["seed"]: math.fsum(number(r["scores"][name]) for name in kept) / len(kept)
                for r in runs
                if kept
            }
    intervals = [r["interval"][metric] for r in runs if metric in (r.get("interval") or {})]
    mean = math.fsum(values.values()) / len(values) if values else None
    sd = None
    if len(values) > 1:
        sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values.values()) / (len(values) - 1))
    bounds = [math.fsum(side) / len(intervals) for side in zip(*intervals, strict=True)] or [None, None]
    return {
        **extra,
        "mean": mean,
        "sd": sd,
        "n": len(values),
        "ci_low": bounds[0],
        "ci_high": bounds[1],
        "by_seed": values,
    }


def _why(scores: Iterable[Mapping[str, Any]]) -> str:
    return next(filter(None, (s.get("reason") for s in scores)), "no finite value")


def fullest(rows: Sequence[dict]) -> list[dict]:
    """Rows whose score rests on the same metrics: the largest such set, then the most common one."""
    scored = [r for r in rows if r["mean"] is not None]
    common = Counter((r["applicable"], r["reason"]) for r in scored)
    if not common:
        return []
    best = min(common, key=lambda k: (-int(k[0].split("/")[0] or 0), -common[k], k[1]))
    return [r for r in scored if (r["applicable"], r["reason"]) == best]


def _rank(rows: Sequence[dict], direction: str) -> None:
    """Competition ranks (1, 1, 3) of methods, label-supervised ones in a track of their own; means that
    read the same in the tables are ties."""
    if direction not in ("min", "max"):
        return
    for track in (False, True):
        able = [r for r in fullest(rows) if r["kind"] != "control" and r["label_supervised"] is track]
        scored = [r for r in rows if r["mean"] is not None and r["kind"] != "control"]
        if len(able) < 2 <= sum(r["label_supervised"] is track for r in scored):
            continue  # it would be first of one, before rows that lack a metric
        able.sort(key=lambda r: r["mean"] if direction == "min" else -r["mean"])
        for place, row in enumerate(able):
            tied = place and score(row["mean"]) == score(able[place - 1]["mean"])
            row["rank"] = able[place - 1]["rank"] if tied else place + 1


def _scale(rows: Sequence[dict], direction: str) -> None:
    """Control-scaled score: (x - worst negative control) / (positive - worst negative), in [0, 1].

    The positive control is the one that is handed the solution, known by its flags (a control
    that is both transductive and label-supervised); the best where there are several. All other
    controls are negative, unimodal ones too: they are the worst only where nothing worse was run. There
    is no scaled score where the positive control is not better than the worst negative one.
    """
    full = fullest(rows)
    controls = [r for r in full if r["kind"] == "control"]
    handed = [r["mean"] for r in controls if r["transductive"] and r["label_supervised"]]
    negative = [r["mean"] for r in controls if not (r["transductive"] and r["label_supervised"])]
    if direction not in ("min", "max") or not handed or not negative:
        return
    best, worst = (min, max) if direction == "min" else (max, min)
    top, floor = best(handed), worst(negative)
    if (floor - top if direction == "min" else top - floor) <= TIE:
        return
    for row in full:
        row["scaled"] = min(1.0, max(0.0, (row["mean"] - floor) / (top - floor)))
