"""The roster: which runs stand in the tables, and which of them may be compared with each other.

Two runs are comparable only where task, its settings (how many cells and features are scored), dataset,
subtask, normalisation, data hash and protocol agree; otherwise the same metric is a different number.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scmobench.experiment.kept import sortable, turn
from scmobench.types import MODALITIES

Record = dict[str, Any]

COMPARABLE = ("task", "dataset", "subtask", "normalization", "data_hash", "protocol", "task_settings")
COMPONENTS = ("nmi", "asw_label", "asw_batch", "graph_conn", "cc_cons", "ti_cons_batch_mean")
MEAN_OF_SIX = ("joint_embedding", "mean")


def latest(records: Iterable[Record]) -> list[Record]:
    """The record of the last attempt at each run, sorted; several configurations of one method told apart.

    A failed run stops counting once the same method and seed has ended well. A failed record that
    does not know its data (the run stopped before) stands with the newest runs of its dataset and
    direction. Where a method has runs of more than one configuration on the same data, the first
    six digits of the configuration's hash are added to its name, so that no mean mixes them.
    """
    ordered = sorted(records, key=turn)
    done = [r for r in ordered if r["status"] == "ok"]
    ended = {(*_home(r), r["method"], r["seed"]): turn(r)[:2] for r in done}
    homes = {_home(r): {name: r.get(name) for name in COMPARABLE[:-1]} | _task_of(r) for r in done}
    last = {}
    for run in ordered:
        if run["status"] != "ok":
            if ended.get((*_home(run), run["method"], run["seed"]), (-1, "")) >= turn(run)[:2]:
                continue
            if not run.get("data_hash"):
                run = {**run, **homes.get(_home(run), {})}
        last[(*comparable(run), run["method"], run.get("config_hash", ""), run["seed"])] = run
    hashes = defaultdict(set)
    for key, run in last.items():
        if run["status"] == "ok":
            hashes[key[:-2]].add(key[-2])
    for key, run in last.items():
        if len(hashes[key[:-2]]) > 1 and key[-2]:
            last[key] = {**run, "method": f"{run['method']} #{key[-2][:6]}"}
    return [last[key] for key in sorted(last, key=sortable)]


def _home(run: Record) -> tuple[str, str, str]:
    return run["task"], run["dataset"], run.get("direction") or run["subtask"]


def comparable(run: Record) -> tuple[str, ...]:
    """Values of `COMPARABLE` as text: runs are compared only where all of them agree."""
    named = {name: str(run.get(name) or "") for name in COMPARABLE} | _task_of(run)
    return tuple({**named, "normalization": normalization_name(run.get("normalization") or {})}.values())


def _task_of(run: Record) -> dict[str, str]:
    """Settings of the task that say what is scored, e.g. ``draw_seed 0, n_test_cells 1000``."""
    if "task_settings" in run:
        return {"task_settings": run["task_settings"]}
    settings = (run.get("config") or {}).get("task") or {}
    told = (
        f"{k} {v}" for k, v in sorted(settings.items()) if k not in ("_target_", "name") and v is not None
    )
    return {"task_settings": ", ".join(told)}


def normalization_name(normalization: Mapping[str, str]) -> str:
    """``GEX log_library, ADT clr``: the modalities in their fixed order."""
    order = {name: place for place, name in enumerate(MODALITIES)}
    names = sorted(normalization, key=lambda m: (order.get(m, len(order)), m))
    return ", ".join(f"{name} {normalization[name]}" for name in names)


def number(score: Mapping[str, Any] | None) -> float | None:
    """The finite value of a recorded score, or None."""
    value = (score or {}).get("value")
    return None if value is None or not math.isfinite(value) else float(value)


def missing(run: Record) -> tuple[str, ...]:
    """Which of the six embedding metrics this run does not have."""
    scores = run.get("scores") or {}
    return tuple(name for name in COMPONENTS if number(scores.get(name)) is None)


def overall(runs: Sequence[Record]) -> list[Record]:
    """Mean over subtasks, seed by seed, as records of the subtask ``Overall``.

    The subtasks are all those that any method was run on in a family of datasets: names that
    differ only in ``cite`` against ``multiome`` are the two halves of one benchmark, as in the
    competition, any other dataset is its own family. A method that lacks one of them, or a family
    with several data hashes, normalisations or protocols, has no overall score. RMSE of different
    modalities are averaged as they are, as the competition did.
    """
    families: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for run in (r for r in runs if r["status"] == "ok"):
        stem = run["dataset"].replace("cite", "*").replace("multiome", "*")
        families[run["task"], stem].append(run)
    pooled = []
    for _, members in sorted(families.items()):
        keys = {comparable(r) for r in members}
        subtasks = {key[1:3] for key in keys}
        names = {(m, s) for r in members for m, s in (r.get("normalization") or {}).items()}
        clash = len(names) > len({m for m, _ in names}) or len({key[5] for key in keys}) > 1
        if len(subtasks) < 2 or len(keys) > len(subtasks) or clash:
            continue
        seeds: dict[tuple, list[Record]] = defaultdict(list)
        for run in members:
            seeds[run["method"], run["seed"]].append(run)
        pooled += [_pool(seeds[k]) for k in sorted(seeds, key=sortable) if len(seeds[k]) == len(subtasks)]
    return pooled


def _pool(runs: Sequence[Record]) -> Record:
    scores = {}
    for metric in sorted(set.intersection(*(set(r["scores"]) for r in runs))):
        values = [number(r["scores"][metric]) for r in runs]
        partial = (runs[0]["task"], metric) == MEAN_OF_SIX and any(missing(r) for r in runs)
        if partial or None in values:
            scores[metric] = {"value": None, "reason": "not applicable in every subtask"}
        else:
            scores[metric] = {"value": math.fsum(values) / len(values), "reason": ""}
    seconds = [r["seconds"] for r in runs if r.get("seconds") is not None]
    return {
        **runs[0],
        **{name: None for name in ("interval", "parameters", "n_train", "n_test", "n_test_seen")},
        "subtask": "Overall",
        "dataset": " + ".join(sorted({r["dataset"] for r in runs})),
        "data_hash": "+".join(sorted({r["data_hash"] for r in runs})),
        "config_hash": "+".join(sorted({r["config_hash"] for r in runs})),
        "normalization": {m: s for r in runs for m, s in (r.get("normalization") or {}).items()},
        "transductive": any(r.get("transductive") for r in runs),
        "label_supervised": any(r.get("label_supervised") for r in runs),
        "scores": scores,
        "seconds": math.fsum(seconds) if seconds else None,
        "peak_memory_gb": max((r["peak_memory_gb"] for r in runs if r.get("peak_memory_gb")), default=None),
    }
