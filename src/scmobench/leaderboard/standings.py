"""Standings: mean, spread, rank and control-scaled score of every method, from the records of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from scmobench.leaderboard.roster import COMPARABLE, COMPONENTS, COSTS, FLAGS, Record, number, roster
from scmobench.leaderboard.tables import score

Metadata = Mapping[str, Mapping[str, Mapping[str, Any]]]

COLUMNS = [
    *("task", "dataset", "subtask", "method", "metric", "mean", "sd", "n", "source", "ci_low", "ci_high"),
    *(
        "rank",
        "scaled",
        "seconds",
        "peak_memory_gb",
        "parameters",
        "transductive",
        "label_supervised",
        "kind",
    ),
    *("normalization", "data_hash", "config_hash", "applicable", "failed", "reason", "protocol"),
    *("task_settings", "device", "n_train", "n_test", "reference", "n_test_seen"),
]
"""What the CSV files hold."""
DETAILS = ["by_seed", "full", "failures"]
"""What the standings hold besides: scores by seed, whether the row can be ranked, messages of failed runs."""
TYPES = {
    **dict.fromkeys(["mean", "sd", "ci_low", "ci_high", "scaled", "seconds", "peak_memory_gb"], "float"),
    **dict.fromkeys(["n", "rank", "parameters", "failed", "n_train", "n_test", "n_test_seen"], "Int64"),
    **dict.fromkeys([*FLAGS, "full"], "boolean"),
}
METHOD = [*COMPARABLE, "method"]
COLUMN = [*COMPARABLE, "metric"]
TIE = 1e-12


def standings(records: Iterable[Record], metrics: Metadata) -> pd.DataFrame:
    """One row a method and metric: mean and unbiased sd over seeds, rank, control-scaled score.

    Parameters
    ----------
    records : runs, in any order; `scmobench.leaderboard.roster.roster` decides which of them count.
    metrics : task -> metric -> metadata (``label``, ``direction`` ``min`` or ``max``, ``primary``).

    Returns
    -------
    DataFrame with `COLUMNS` and `DETAILS`. ``sd`` is missing for one seed. ``seconds`` and the confidence
    bounds (bootstrap over test cells, one interval a run) are means over seeds, ``peak_memory_gb`` is
    the maximum. ``by_seed`` maps seed to score. ``failed`` counts failed runs; ``failures`` lists their
    seeds and messages.

    Notes
    -----
    A mean of the six embedding metrics covers those that all runs of the method have, so that no seed is
    dropped. It is ranked only among methods that lack the same ones, and only where no method has more of
    them. Any other metric that some seeds lack is the mean of the other seeds: ``reason`` tells it, and
    there is neither a rank nor a scaled score.
    """
    runs = roster(records)
    scores = _summaries(_means_of_six(_scores(runs)))
    table = _methods(runs).merge(scores, on=METHOD, how="left").assign(source="ours", reference=None)
    known = [about | {"task": t, "metric": m} for t, found in metrics.items() for m, about in found.items()]
    known = pd.DataFrame(known).rename_axis("place").reset_index()
    known["sign"] = known["direction"].map({"min": 1.0, "max": -1.0})
    first = known[known["primary"].eq(True)].set_index("task")["metric"]
    table["metric"] = table["metric"].fillna(table["task"].map(first))
    table = table.fillna({"metric": "", "n": 0, "applicable": "", "reason": ""})
    table = table.merge(known[["task", "metric", "place", "sign"]], on=["task", "metric"], how="left")
    table = table.sort_values([*METHOD, "place", "metric"], ignore_index=True)
    table["full"] = _full(table)
    return frame(table.assign(rank=_ranks(table), scaled=_scaled(table)))


def frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with `COLUMNS` and `DETAILS`, numbers as numbers (missing ones NaN or NA)."""
    rows = rows.reindex(columns=[*COLUMNS, *DETAILS]).astype(TYPES)
    for column, kind in {"by_seed": dict, "failures": list}.items():
        rows[column] = [value if isinstance(value, kind) else kind() for value in rows[column]]
    return rows


def _methods(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a method of a comparable group: kind, flags, costs and failures."""

    def joined(texts: pd.Series) -> str:
        return "+".join(sorted(set(texts) - {""}))

    failed = runs["status"] != "ok"
    failures = pd.Series(list(zip(runs["seed"], runs["message"], strict=True)), index=runs.index)
    runs = runs.assign(failed=failed, failures=failures.where(failed))
    return runs.groupby(METHOD, as_index=False).agg(
        kind=("kind", "first"),
        **{flag: (flag, "any") for flag in FLAGS},
        **{cost: (cost, "mean" if cost == "seconds" else "max") for cost in COSTS},
        device=("device", joined),
        config_hash=("config_hash", joined),
        failed=("failed", "sum"),
        failures=("failures", lambda found: list(found.dropna())),
    )


def _scores(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a finished run (``run`` is its row in the roster) and metric."""
    rows = [
        (run, metric, number(found), found.get("reason") or "", *(interval.get(metric) or (None, None)))
        for run, (scores, interval) in enumerate(zip(runs["scores"], runs["interval"], strict=True))
        for metric, found in scores.items()
    ]
    scores = pd.DataFrame(rows, columns=["run", "metric", "value", "why", "low", "high"])
    scores = scores.astype({"run": int, "value": float, "low": float, "high": float})
    return scores.join(runs[[*METHOD, "seed"]], on="run").assign(applicable="", reason="")


def _means_of_six(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores with each mean of six taken over the metrics that all runs of its method have."""
    embeddings = scores[scores["task"] == "joint_embedding"]
    means = embeddings[embeddings["metric"] == "mean"]
    six = embeddings.pivot(index="run", columns="metric", values="value").reindex(columns=COMPONENTS)
    six = six.loc[means["run"]].set_axis(means.index)
    method = [means[name] for name in METHOD]
    lacking = six.isna().groupby(method).transform("any")
    uneven = (six.isna() != lacking).any(axis=1).groupby(method).transform("any")
    names = lacking @ pd.Series([f"{name}, " for name in COMPONENTS], index=COMPONENTS)
    scores.loc[means.index[uneven], "value"] = six.where(~lacking).mean(axis=1)[uneven]
    scores.loc[means.index, "applicable"] = [f"{have}/{len(COMPONENTS)}" for have in (~lacking).sum(axis=1)]
    scores.loc[means.index, "reason"] = ("without " + names.str.removesuffix(", ")).where(names != "", "")
    return scores


def _summaries(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a method and metric: mean, sd, number of seeds, mean interval, and why seeds are missing."""
    row = [*METHOD, "metric"]
    deviation = scores["value"] - scores.groupby(row)["value"].transform("mean")
    explained = scores["value"].isna() & (scores["why"] != "")
    scores = scores.assign(square=deviation**2, why=scores["why"].where(explained))
    table = scores.groupby(row, as_index=False).agg(
        mean=("value", "mean"),
        squares=("square", "sum"),
        n=("value", "count"),
        tried=("value", "size"),
        ci_low=("low", "mean"),
        ci_high=("high", "mean"),
        why=("why", "first"),
        applicable=("applicable", "first"),
        reason=("reason", "first"),
        seeds=("seed", list),
        values=("value", list),
    )
    table["sd"] = np.sqrt(table["squares"] / (table["n"] - 1).where(table["n"] > 1))
    why = table["why"].fillna("no finite value")
    some = table["n"].astype(str) + " of " + table["tried"].astype(str) + " seeds; else " + why
    gap = np.select([table["n"] == table["tried"], table["n"] == 0], ["", why], some)
    table["reason"] = table["reason"].where(table["reason"] != "", gap)
    pairs = zip(table["seeds"], table["values"], strict=True)
    table["by_seed"] = [{s: v for s, v in zip(*pair, strict=True) if pd.notna(v)} for pair in pairs]
    return table


def _full(table: pd.DataFrame) -> pd.Series:
    """Rows of a column with scores from the same metrics: the largest such set, then the most common one."""
    scored = table[table["mean"].notna()]
    basis = scored["applicable"] + " " + scored["reason"]
    have = scored["applicable"].str.split("/").str[0].replace("", "0").astype(int)
    common = basis.groupby([*(scored[name] for name in COLUMN), basis]).transform("size")
    order = scored.assign(basis=basis, have=-have, common=-common).sort_values(["have", "common", "basis"])
    best = order.groupby(COLUMN)["basis"].transform("first")
    return (order["basis"] == best).reindex(table.index, fill_value=False)


def _ranks(table: pd.DataFrame) -> pd.Series:
    """Competition ranks (1, 1, 3) of methods, with a track of their own for label-supervised ones.

    Means that read the same in the tables are ties. No method is first of one before rows that lack a metric.
    """
    method = table["kind"] != "control"
    scored, able = method & table["mean"].notna(), method & table["full"]
    track = [table[name] for name in (*COLUMN, "label_supervised")]
    alone = able.groupby(track).transform("sum").lt(2) & scored.groupby(track).transform("sum").ge(2)
    loss = table["sign"] * table["mean"].map(lambda mean: float(score(mean)), na_action="ignore")
    return loss.where(able & ~alone).groupby(track).rank(method="min")


def _scaled(table: pd.DataFrame) -> pd.Series:
    """Control-scaled score: 0 for the worst negative control, 1 for the positive one, cut to [0, 1].

    The positive control is the one that is handed the solution, known by its flags (a control that is both
    transductive and label-supervised); the best where there are several. All other controls are negative.
    There is no scaled score where the positive control is not better than the worst negative one.
    """
    loss, column = table["sign"] * table["mean"], [table[name] for name in COLUMN]
    control = table["full"] & (table["kind"] == "control")
    handed = table["transductive"] & table["label_supervised"]
    top = loss.where(control & handed).groupby(column).transform("min")
    floor = loss.where(control & ~handed).groupby(column).transform("max")
    apart = table["full"] & (floor - top > TIE)
    return ((floor - loss) / (floor - top)).where(apart).clip(0, 1)
