"""Standings: mean, spread, rank and control-scaled score of every method, from the records of its runs."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from scmobench.leaderboard.evidence import COLUMN, METHOD, UNTESTED, evidence
from scmobench.leaderboard.roster import COSTS, FLAGS, WITHOUT, Record, handed, number, roster

Metadata = Mapping[str, Mapping[str, Mapping[str, Any]]]

COLUMNS = [
    *("task", "dataset", "subtask", "method", "metric", "mean", "sd", "n", "source", "n_expected"),
    *("ci_low", "ci_high", "variant", "rank", "group", "evidence", "p_holm", "gap", "gap_low", "gap_high"),
    *("scaled", "seconds", "peak_memory_gb", "parameters", "transductive", "label_supervised", "kind"),
    *("normalization", "data_hash", "config_hash", "applicable", "failed", "reason", "protocol"),
    *("task_settings", "device", "n_train", "n_test", "reference", "n_test_seen"),
]  # what the CSV files hold
DETAILS = ["by_seed", "full", "failures", "primary", "loss", "tested"]
"""What the standings hold besides: scores by seed, whether the row has all metrics that count, messages of
failed runs, whether the metric ranks the task, the mean with the sign that makes less the better, whether a
test compares the row with the leader."""
REAL = ["mean", "sd", "ci_low", "ci_high", "scaled", "seconds", "peak_memory_gb"]
REAL += ["p_holm", "gap", "gap_low", "gap_high", "loss"]
WHOLE = ["n", "n_expected", "rank", "group", "parameters", "failed", "n_train", "n_test", "n_test_seen"]
TYPES = dict.fromkeys(REAL, "float") | dict.fromkeys(WHOLE, "Int64")
TYPES |= dict.fromkeys([*FLAGS, "full", "variant", "primary", "tested"], "boolean")
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
    seeds and messages. ``n_expected`` is the number of seeds that most methods of the same column
    have, so that fewer are noticed. ``variant`` marks ablations, changed settings and configurations that are
    not the default (`roster`): they have no rank and count in none. ``rank``, ``group``, ``evidence``,
    ``p_holm`` and ``gap`` are explained at `scmobench.leaderboard.evidence.evidence`. ``source`` is ``this
    suite``, or ``external`` for a prediction that was submitted.

    Notes
    -----
    The mean of the six embedding metrics is explained at `scmobench.leaderboard.roster.means_of_six`;
    ``reason`` names the metrics that a method lacks. Any other metric that some seeds lack is the mean of the
    other seeds: ``reason`` tells it, and there is neither a rank nor a scaled score.
    """
    runs = roster(records)
    scores = _summaries(_scores(runs))
    table = _methods(runs).merge(scores, on=METHOD, how="left").assign(reference=None)
    table["source"] = np.where(table["kind"] == "external", "external", "this suite")
    known = [about | {"task": t, "metric": m} for t, found in metrics.items() for m, about in found.items()]
    known = pd.DataFrame(known, columns=["task", "metric", "primary", "root", "direction"])
    known[["primary", "root"]] = known[["primary", "root"]].eq(True)
    known["sign"] = known.pop("direction").map({"min": 1.0, "max": -1.0})
    first = known[known["primary"]].set_index("task")["metric"]
    table["metric"] = table["metric"].fillna(table["task"].map(first))
    table = table.fillna({"metric": "", "n": 0, "applicable": "", "reason": ""})
    table = table.merge(known.rename_axis("place").reset_index(), on=["task", "metric"], how="left")
    table = table.sort_values([*METHOD, "place", "metric"], ignore_index=True)
    whole = table["mean"].notna() & (table["n"] == table["tried"])
    table["full"] = whole & ~table["reason"].str.startswith(WITHOUT)
    method = table["kind"] != "control"
    table["able"] = table["full"] & (table["failed"] == 0) & method & table["sign"].notna()
    counting = table.assign(n=table["n"].where(method & ~table["variant"])).groupby(COLUMN)["n"]
    table["n_expected"] = counting.transform(lambda n: n.mode().max())
    table["loss"] = table["sign"] * table["mean"]
    table = table.assign(**evidence(table, runs), scaled=_scaled(table))
    leader = (table["rank"] == 1) & ~table["evidence"].isin(("", UNTESTED))
    table["tested"] = table["rank"].notna() & (leader | table["gap"].notna())
    return frame(table)


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
        variant=("variant", "first"),
        **{flag: (flag, "any") for flag in FLAGS},
        **{cost: (cost, "mean" if cost == "seconds" else "max") for cost in COSTS},
        device=("device", joined),
        config_hash=("config_hash", joined),
        failed=("failed", "sum"),
        failures=("failures", lambda found: list(found.dropna())),
    )


def _scores(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a finished run (``run`` is its row in the roster) and metric.

    ``why`` tells why there is no value; of a mean of six, ``reason`` tells what it lacks.
    """
    rows = [
        (run, metric, number(found), found.get("reason") or "", found.get("applicable", ""), *bounds)
        for run, scores, interval in runs[["scores", "interval"]].itertuples()
        for metric, found in scores.items()
        for bounds in [interval.get(metric) or (None, None)]
    ]
    scores = pd.DataFrame(rows, columns=["run", "metric", "value", "told", "applicable", "low", "high"])
    scores = scores.astype({"run": int, "value": float, "told": str, "low": float, "high": float})
    told, known = scores["told"], scores["value"].notna()
    scores["why"] = told.where(~known & (told != ""))
    scores["reason"] = told.where(known & told.str.startswith(WITHOUT), "")
    return scores.join(runs[[*METHOD, "seed"]], on="run")


def _summaries(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a method and metric: mean, sd, number of seeds, mean interval, and why seeds are missing."""
    row = [*METHOD, "metric"]
    deviation = scores["value"] - scores.groupby(row)["value"].transform("mean")
    table = (
        scores.assign(square=deviation**2)
        .groupby(row, as_index=False)
        .agg(
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
    )
    table["sd"] = np.sqrt(table["squares"] / (table["n"] - 1).where(table["n"] > 1))
    why = table["why"].fillna("no finite value")
    some = table["n"].astype(str) + " of " + table["tried"].astype(str) + " seeds; else " + why
    gap = np.select([table["n"] == table["tried"], table["n"] == 0], ["", why], some)
    table["reason"] = table["reason"].where(table["reason"] != "", gap)
    pairs = zip(table["seeds"], table["values"], strict=True)
    table["by_seed"] = [{s: v for s, v in zip(*pair, strict=True) if pd.notna(v)} for pair in pairs]
    return table


def _scaled(table: pd.DataFrame) -> pd.Series:
    """Control-scaled score: 0 for the best trivial control, 1 for the one that is handed the solution.

    ``scaled`` in templates/words.jinja says which these are in each task. Trivial controls read no test cell,
    and their flags say so. Of several controls that are handed the solution the best counts; it may lack a
    metric (`scmobench.leaderboard.roster.means_of_six`). The score is not cut: a method below the floor has a
    negative one. There is none where the positive control is not better than the floor.
    """
    loss, column = table["loss"], [table[name] for name in COLUMN]
    reading = table["transductive"].astype(bool) | table["label_supervised"].astype(bool)
    trivial = table["full"] & (table["kind"] == "control") & ~reading
    whole = table["n"] == table["tried"]
    top = loss.where(whole & handed(table)).groupby(column).transform("min")
    floor = loss.where(trivial).groupby(column).transform("min")
    return ((floor - loss) / (floor - top)).where(whole & (floor - top > TIE))
