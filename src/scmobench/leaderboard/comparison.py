"""Comparing runs: a repetition with the records that are kept, and the seeds of two methods."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd

from scmobench.experiment.kept import sortable
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.roster import Record, number

IDENTITY = ["task", "dataset", "subtask", "method", "seed", "config_hash", "data_hash"]
METHOD = IDENTITY[:4]
FEWEST_SEEDS = 5


def compare(records: Iterable[Record], reference: Iterable[Record]) -> pd.DataFrame:
    """Scores of a repetition beside those of the same runs in the kept records.

    Runs are the same where task, data set, subtask, method, seed, configuration hash and data hash agree.

    Returns
    -------
    One row a score: the identity, ``metric``, ``ours``, ``reference``, ``difference`` (absolute; 0 where the
    metric is not applicable in both, infinite where in one only) and ``portable`` (both runs used portable
    arithmetic). Runs without a counterpart are left out.
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


def verdict(compared: pd.DataFrame, tolerance: float = 1e-6) -> str:
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
    outside, means = compared[~(compared["difference"] <= tolerance)], _means(compared)
    return filled(
        "verdict.txt.jinja",
        compared=compared,
        tolerance=tolerance,
        outside=outside,
        means=means,
        far=means[~(means["gap"] <= means["sd"].clip(lower=tolerance))],
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


def between_seeds(first: Iterable[float], second: Iterable[float]) -> str:
    """Welch's t-test and the Mann-Whitney test of two methods' seeds in words, two-sided and not corrected.

    The seeds of two methods are independent draws, all scored on the same test cells. The tests tell whether
    the gap exceeds what seeds cause on these cells; they say nothing of other cells.
    (`scmobench.experiment.evaluate.paired_test` compares two predictions cell by cell.) There is no test
    below five seeds of either method, nor where seeds change nothing.
    """
    one, other = np.array(list(first)), np.array(list(second))
    n = f"{len(one)} and {len(other)}"
    if min(len(one), len(other)) < FEWEST_SEEDS:
        return f"too few seeds for a test ({n})"
    gap = f"difference {one.mean() - other.mean():.4g}"
    if max(np.ptp(one), np.ptp(other)) <= 1e-12:
        return f"{gap} whatever the seeds ({n}), no test"
    from scipy.stats import mannwhitneyu, ttest_ind

    with warnings.catch_warnings():  # one of both may have no spread
        warnings.simplefilter("ignore", RuntimeWarning)
        welch = ttest_ind(one, other, equal_var=False).pvalue
    rank = mannwhitneyu(one, other).pvalue
    tests = f"Welch's t-test p = {welch:.2g}, Mann-Whitney p = {rank:.2g}"
    return f"{gap}, of {n} seeds on the same test cells, {tests}"


def _identity(record: Record) -> tuple:
    return tuple(record[name] for name in IDENTITY)
