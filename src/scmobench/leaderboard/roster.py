"""The roster: which runs stand in the tables, and which of them may be compared with each other."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from scmobench.experiment.kept import turn
from scmobench.types import MODALITIES

Record = dict[str, Any]

COMPARABLE = ("task", "dataset", "subtask", "normalization", "data_hash", "protocol", "task_settings")
"""Runs are comparable where all of these agree; otherwise the same metric is a different number."""
COMPONENTS = ("nmi", "asw_label", "asw_batch", "graph_conn", "cc_cons", "ti_cons_batch_mean")
WITHOUT = "without "  # begins the reason of a mean of six that lacks some of them
COSTS = ("seconds", "peak_memory_gb", "parameters", "n_train", "n_test", "n_test_seen")
FLAGS = ("transductive", "label_supervised")
VARIANT = re.compile(r"[+\[]| #")
"""What tells the name of an ablation, or of a method with changed settings, from the method's own."""
CHANGED_ENSEMBLE = re.compile(r"\[| #")
TEXTS = ("task", "dataset", "subtask", "data_hash", "protocol", "status", "method", "config_hash", "message")


def roster(records: Iterable[Record]) -> pd.DataFrame:
    """Runs that count, sorted, one a row; then their means over subtasks (`_overall`), one a row.

    Of several attempts at a run the last one counts. A failed run stops counting once the same method and
    seed has ended well. A failed run that stopped before it read its data stands with the newest runs of
    its data set and direction. Where a method has runs of several configurations on the same data, no mean
    mixes them. The default configuration is the one with the most seeds, of several such the one that was run
    last. The first six digits of any other configuration's hash are added to the method's name.

    Returns the columns `COMPARABLE`, `COSTS` (missing for failed runs), `FLAGS`, `TEXTS`, ``kind``, ``seed``,
    ``device``, ``variant`` (an ablation, changed settings, or another configuration than the default one),
    ``record``, and dictionaries by metric: ``scores`` (each with ``value`` and ``reason``), ``interval``.
    """
    rows = [_row(record) for record in sorted(records, key=turn)]
    done = [row for row in rows if row["status"] == "ok"]
    data = {row["home"]: {name: row[name] for name in COMPARABLE} for row in done}
    ended = {(row["home"], row["method"], row["seed"]): row["turn"] for row in done}
    rows = [
        row | data.get(row["home"], {}) if row["status"] != "ok" and not row["data_hash"] else row
        for row in rows
        if row["status"] == "ok" or row["turn"] > ended.get((row["home"], row["method"], row["seed"]), ())
    ]
    runs = pd.DataFrame(rows, columns=list(_row({})))
    runs = runs.drop_duplicates([*COMPARABLE, "method", "config_hash", "seed"], keep="last")
    runs = runs.sort_values("seed", key=lambda seeds: seeds.map(lambda seed: (isinstance(seed, str), seed)))
    runs = runs.sort_values([*COMPARABLE, "method", "config_hash"], ignore_index=True)
    told_apart = runs["method"] + " #" + runs["config_hash"].str[:6]
    runs["method"] = runs["method"].mask(_not_default(runs), told_apart)
    ensemble, varied = runs["kind"] == "ensemble", runs["method"].str.contains
    runs["variant"] = (ensemble & varied(CHANGED_ENSEMBLE)) | ((runs["kind"] == "method") & varied(VARIANT))
    runs["scores"] = means_of_six(runs)
    return pd.DataFrame([*runs.to_dict("records"), *_overall(runs)], columns=runs.columns)


def handed(rows: pd.DataFrame) -> pd.Series:
    """Controls that are handed the solution, known by their flags: both transductive and label-supervised."""
    return (rows["kind"] == "control") & rows[[*FLAGS]].astype(bool).all(axis=1)


def means_of_six(runs: pd.DataFrame) -> list[Mapping[str, Any]]:
    """The scores of each run, with the mean of six over the metrics that count on these data.

    A metric counts if more than half of the methods have it for all their seeds; ablations and changed
    settings are no methods here. Without methods, a metric counts if a control has it that is handed the
    labels. So methods are compared by the same metrics. (scIB averages what each method has: ``rowMeans(...,
    na.rm = T)`` in scib-reproducibility, visualization/plotSingleTaskRNA.R. A method then gains by a metric
    that it lacks.) A row that lacks a counted metric for some seed has the mean of the others, for all seeds,
    if these are at least half. ``applicable`` counts the metrics, ``reason`` names those that are lacking.
    """
    rows = runs[(runs["task"] == "joint_embedding") & (runs["status"] == "ok")]
    values = [[number(scores.get(name)) for name in COMPONENTS] for scores in rows["scores"]]
    six = pd.DataFrame(values, rows.index, COMPONENTS, dtype=float)
    panel = [rows[name] for name in COMPARABLE]
    method = [*panel, rows["method"]]
    lacking = six.isna().groupby(method).transform("any")
    ranked = (rows["kind"] != "control") & ~rows["variant"]
    telling = ranked.where(ranked.groupby(panel).transform("any"), handed(rows))
    once = telling & ~rows.duplicated([*COMPARABLE, "method"])
    counted = (1.0 - lacking[once]).reindex(rows.index).groupby(panel).transform("mean") > 0.5
    lacking &= counted
    means = six.where(counted & ~lacking).mean(axis=1)
    found = runs["scores"].to_dict()
    for run in rows.index[counted.any(axis=1)]:
        lost, most = [name for name in COMPONENTS if lacking.at[run, name]], counted.loc[run].sum()
        enough = 2 * len(lost) <= most  # an embedding that is one point has few metrics
        mean = {"value": means[run] if enough else None, "reason": WITHOUT + ", ".join(lost) if lost else ""}
        if "mean" in found[run]:
            mean["applicable"] = f"{most - len(lost)}/{most}"
            found[run] = {**found[run], "mean": mean}
    return list(found.values())


def _not_default(runs: pd.DataFrame) -> pd.Series:
    """Whether a run has another configuration than its method's default one on the same data."""
    method = [*COMPARABLE, "method"]
    done = runs[runs["status"] == "ok"].groupby([*method, "config_hash"], as_index=False)
    seeds = done.agg(seeds=("seed", "size"), last=("turn", lambda turns: max(turns)))
    default = seeds.sort_values(["seeds", "last"]).groupby(method)["config_hash"].last().rename("default")
    default = runs[method].join(default, on=method)["default"]
    return default.notna() & (runs["config_hash"] != "") & (runs["config_hash"] != default)


def normalization_name(scalings: Mapping[str, str]) -> str:
    """``GEX log_library, ADT clr``: the modalities in their fixed order."""
    names = [*(name for name in MODALITIES if name in scalings), *sorted({*scalings} - {*MODALITIES})]
    return ", ".join(f"{name} {scalings[name]}" for name in names)


def number(score: Mapping[str, Any] | None) -> float | None:
    """The finite value of a recorded score, or None."""
    value = (score or {}).get("value")
    return None if value is None or not math.isfinite(value) else float(value)


def _row(record: Record) -> dict[str, Any]:
    done = record.get("status") == "ok"
    task, dataset, subtask = (record.get(name) for name in ("task", "dataset", "subtask"))
    settings = (record.get("config") or {}).get("task") or {}
    shown = {k: v for k, v in sorted(settings.items()) if k not in ("_target_", "name") and v is not None}
    return {
        **{name: str(record.get(name) or "") for name in TEXTS},
        **{name: record.get(name) if done else None for name in COSTS},
        **{name: bool(record.get(name)) for name in FLAGS},
        "home": (task, dataset, record.get("direction") or subtask),
        "turn": turn(record)[:3],
        "kind": record.get("kind") or "method",
        "seed": record.get("seed"),
        "device": str(record.get("device") or "") if done else "",
        "record": record,
        "scores": record.get("scores") or {} if done else {},
        "interval": record.get("interval") or {},
        "scalings": record.get("normalization") or {},
        "normalization": normalization_name(record.get("normalization") or {}),
        "task_settings": ", ".join(f"{k} {v}" for k, v in shown.items()),
    }


def _overall(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Means over subtasks, seed by seed, as runs of the subtask ``Overall``.

    The subtasks are all those that any method was run on in a family of data sets. Names that differ only
    in ``cite`` against ``multiome`` are the two halves of one benchmark, as in the competition; any
    other data set is a family of its own. A method that lacks a subtask has no mean. Neither has a family
    with several data hashes, normalisations or protocols, or one where fewer than half
    of the methods have a mean. RMSEs of different modalities are averaged as they are, as in the competition.
    """
    family = runs["dataset"].str.replace("cite|multiome", "*", regex=True)
    means = []
    for _, members in runs.groupby(["task", family]):
        tables = members[list(COMPARABLE)].drop_duplicates()
        subtasks = len(tables[["dataset", "subtask"]].drop_duplicates())
        scalings = {pair for names in members["scalings"] for pair in names.items()}
        clash = len(scalings) > len(dict(scalings)) or tables["protocol"].nunique() > 1
        if subtasks < 2 or len(tables) > subtasks or clash:
            continue
        seeds: dict[tuple, list[dict]] = defaultdict(list)
        for run in members[members["status"] == "ok"].to_dict("records"):
            seeds[run["method"], run["seed"]].append(run)
        whole = [same for same in seeds.values() if len(same) == subtasks]
        methods = members[(members["kind"] != "control") & ~members["variant"]]["method"]
        have = {same[0]["method"] for same in whole} & set(methods)
        if 2 * len(have) >= methods.nunique():
            means += [_mean_run(same) for same in whole]
    return means


def _mean_run(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seconds, memory = ([run[name] for run in runs if run[name] >= 0] for name in COSTS[:2])
    return {
        **runs[0],
        **dict.fromkeys(COSTS),
        **{name: any(run[name] for run in runs) for name in FLAGS},
        **{name: "+".join(sorted({run[name] for run in runs})) for name in ("data_hash", "config_hash")},
        "dataset": " + ".join(sorted({run["dataset"] for run in runs})),
        "subtask": "Overall",
        "normalization": normalization_name({m: how for run in runs for m, how in run["scalings"].items()}),
        "seconds": math.fsum(seconds) if seconds else None,
        "peak_memory_gb": max(memory, default=None),
        "scores": _mean_scores([run["scores"] for run in runs]),
        "interval": {},
        "record": None,
    }


def _mean_scores(runs: Sequence[Mapping[str, Mapping]]) -> dict[str, dict[str, Any]]:
    """Means of the metrics that all runs have."""
    means = {}
    for metric in sorted(set.intersection(*map(set, runs))):
        if None in (number(scores.get(metric)) for scores in runs):
            means[metric] = {"value": None, "reason": "not applicable in every subtask"}
        else:
            lacking = [found["reason"] for scores in runs if (found := scores[metric]).get("applicable")]
            reason = max(lacking, key=len, default="")
            value = math.fsum(number(scores[metric]) for scores in runs) / len(runs)
            means[metric] = {"value": value, "reason": reason}
    return means
