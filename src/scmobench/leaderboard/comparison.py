"""Comparing runs: a repetition with the records that are kept."""

import math
from collections.abc import Iterable

import pandas as pd

from scmobench.experiment.kept import sortable
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.roster import Record, number

IDENTITY = ["task", "dataset", "subtask", "method", "seed", "config_hash", "data_hash"]
METHOD = IDENTITY[:4]
TOLERANCE = 1e-6


def compare(records: Iterable[Record], reference: Iterable[Record]) -> pd.DataFrame:
    """Scores of a repetition beside those of the same runs in the kept records.

    Runs are the same where task, data set, subtask, method, seed, configuration hash and data hash agree.

    Returns one row a score: the identity, ``metric``, ``ours``, ``reference``, ``difference`` (absolute; 0
    where the metric is not applicable in both, infinite where in one only) and ``portable`` (both runs used
    portable arithmetic). Runs without a counterpart are left out.
    """
    kept = {_identity(r): r for r in reference if r["status"] == "ok"}
    rows = []
    for run in sorted((r for r in records if r["status"] == "ok"), key=lambda r: sortable(_identity(r))):
        if (other := kept.get(_identity(run))) is None:
            continue
        portable = {run.get("arithmetic"), other.get("arithmetic")} == {"portable"}
        for metric in sorted({*run["scores"], *other["scores"]}):
            mine, theirs = number(run["scores"].get(metric)), number(other["scores"].get(metric))
            rows.append([*_identity(run), metric, mine, theirs, portable])
    compared = pd.DataFrame(rows, columns=[*IDENTITY, "metric", "ours", "reference", "portable"])
    compared = compared.astype({"ours": float, "reference": float, "portable": bool})
    both_missing = compared["ours"].isna() & compared["reference"].isna()
    difference = (compared["ours"] - compared["reference"]).abs().fillna(math.inf)
    return compared.assign(difference=difference.mask(both_missing, 0.0))


def verdict(compared: pd.DataFrame) -> str:
    """How many scores were reproduced, and which means over seeds and methods differ.

    Another processor rounds differently unless both runs use portable arithmetic, and training amplifies
    that. A mean then counts as reproduced where it lies within one standard deviation of the kept seeds (two
    or more) from their mean.

    Examples
    --------
    ``reproduced: 312 of 312 scores within 1e-06 (largest difference 2.2e-16)``
    """
    if compared.empty:
        return "reproduced: nothing to compare, no run is in both (other data, settings or seeds?)"
    outside, means = compared[~(compared["difference"] <= TOLERANCE)], _means(compared)
    return filled(
        "verdict.txt.jinja",
        compared=compared,
        tolerance=TOLERANCE,
        outside=outside,
        means=means,
        far=means[~(means["gap"] <= means["sd"].clip(lower=TOLERANCE))],
        sizes=compared.groupby(METHOD).size(),
        identity=METHOD,
    ).rstrip()


def _means(compared: pd.DataFrame) -> pd.DataFrame:
    """Means over two seeds or more: ours and the kept ones, the kept seeds' sd, and the ``gap`` between."""
    scores = compared[compared["difference"].gt(0) | compared["ours"].notna()]  # applicable in one of both
    seeds = scores.groupby([*METHOD, "metric"])
    means = seeds[["ours", "reference"]].mean().assign(sd=seeds["reference"].std())
    both = seeds[["ours", "reference"]].count().min(axis=1)
    means["gap"] = (means["ours"] - means["reference"]).abs().where(both == seeds.size(), math.inf)
    return means[seeds.size() > 1]


def _identity(record: Record) -> tuple:
    return tuple(record[name] for name in IDENTITY)
