"""Comparing runs: a repetition with the records that are kept, and the seeds of two methods."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import pandas as pd

from scmobench.experiment.kept import sortable
from scmobench.leaderboard.roster import Record, number

IDENTITY = ["task", "dataset", "subtask", "method", "seed", "config_hash", "data_hash"]
METHOD = IDENTITY[:4]
FEWEST_SEEDS = 5


def compare(records: Iterable[Record], reference: Iterable[Record]) -> pd.DataFrame:
    """Scores of a repetition beside those of the same runs in the kept records.

    Runs are the same where task, dataset, subtask, method, seed, configuration hash and data hash
    agree. One row a score: the identity, ``metric``, ``ours``, ``reference`` and ``difference``
    (absolute; 0 where the metric is not applicable in both, infinite where in one only), ``portable``
    (both in portable arithmetic). Runs without a counterpart are not in it.
    """
    kept = {_identity(r): r for r in reference if r["status"] == "ok"}
    rows = []
    for run in sorted((r for r in records if r["status"] == "ok"), key=lambda r: sortable(_identity(r))):
        other = kept.get(_identity(run))
        portable = bool(other) and {run.get("arithmetic"), other.get("arithmetic")} == {"portable"}
        for metric in sorted({*run["scores"], *other["scores"]}) if other else ():
            mine, theirs = number(run["scores"].get(metric)), number(other["scores"].get(metric))
            if mine is None or theirs is None:
                difference = 0.0 if mine is theirs else math.inf
            else:
                difference = abs(mine - theirs)
            rows.append([*_identity(run), metric, mine, theirs, difference, portable])
    columns = [*IDENTITY, "metric", "ours", "reference", "difference", "portable"]
    return pd.DataFrame(rows, columns=columns)


def verdict(compared: pd.DataFrame, tolerance: float = 1e-6) -> str:
    """How many scores were reproduced; where some were not, how many means over seeds, and of which methods.

    Another processor (a record's versions name it) rounds otherwise, unless both runs are in portable
    arithmetic, and training amplifies that: then a mean is reproduced that lies within one standard deviation
    of the kept seeds (two or more) from theirs.

    Examples
    --------
    ``reproduced: 312 of 312 scores within 1e-06 (largest difference 2.2e-16)``
    """
    if compared.empty:
        return "reproduced: nothing to compare, no run is in both (other data, settings or seeds?)"
    outside = compared[~(compared["difference"] <= tolerance)]
    lines = [
        f"reproduced: {len(compared) - len(outside)} of {len(compared)} scores within {tolerance:g} "
        f"(largest difference {compared['difference'].max():.2g})"
    ]
    if outside.empty:
        return lines[0]
    means = _means(compared)
    far = means[~(means["gap"] <= means["sd"].clip(lower=tolerance))]
    if len(means):
        share = f"{len(means) - len(far)} of {len(means)} are within one sd of the kept seeds"
        cause = "another processor trains other networks"
        if outside["portable"].all():
            cause = "portable arithmetic differs by versions alone, of packages or the C library"
        lines.append(f"{cause}; of the means over seeds {share}")
    for row in far.itertuples():
        lines.append(
            f"  outside: {' '.join(row.Index)}: {row.ours:.4g} here, {row.reference:.4g} ± {row.sd:.2g} kept"
        )
    sizes = compared.groupby(METHOD).size()
    for method, rows in outside.groupby(METHOD):
        row = rows.loc[rows["difference"].idxmax()]
        lines.append(
            f"  {' '.join(method)}: {len(rows)} of {sizes[method]} scores differ, most "
            f"seed {row['seed']} {row['metric']}: {row['ours']} here, {row['reference']} kept"
        )
    return "\n".join(lines)


def _means(compared: pd.DataFrame) -> pd.DataFrame:
    """Means over two seeds or more: here and of the kept records, sd of these, and the ``gap`` between."""
    scores = compared[compared["difference"].gt(0) | compared["ours"].notna()]  # applicable in one of both
    seeds = scores.groupby([*METHOD, "metric"])
    means = seeds[["ours", "reference"]].mean().assign(sd=seeds["reference"].std())
    both = seeds[["ours", "reference"]].count().min(axis=1)
    means["gap"] = (means["ours"] - means["reference"]).abs().where(both == seeds.size(), math.inf)
    return means[seeds.size() > 1]


def largest(compared: pd.DataFrame) -> pd.DataFrame:
    """Largest absolute difference of each task's metrics, and the number of scores behind it."""
    grouped = compared.groupby(["task", "metric"], sort=True)["difference"]
    return grouped.agg(largest="max", scores="size").reset_index()


def between_seeds(first: Iterable[float], second: Iterable[float]) -> dict[str, Any]:
    """Welch's t-test and the Mann-Whitney test of two methods' seeds, both two-sided and not corrected.

    Seeds of two methods are independent draws, and all are scored on the same test cells: the test says
    whether a gap is more than what seeds make on these cells, nothing of other cells
    (`scmobench.experiment.evaluate.paired_test` compares two predictions cell by cell).

    Returns
    -------
    ``n`` (of each), ``difference`` (of the means), ``t_p``, ``u_p`` (None below five seeds of either or
    where no seed makes a difference) and ``statement``, the same in words.
    """
    groups = [list(first), list(second)]
    n = tuple(map(len, groups))
    means = [math.fsum(group) / len(group) if group else math.nan for group in groups]
    gap = means[0] - means[1]
    result = {"n": n, "difference": gap, "t_p": None, "u_p": None}
    if min(n) < FEWEST_SEEDS:
        return {**result, "statement": f"too few seeds for a test ({n[0]} and {n[1]})"}
    if all(max(group) - min(group) <= 1e-12 for group in groups):
        return {
            **result,
            "statement": f"difference {gap:.4g} whatever the seeds ({n[0]} and {n[1]}), no test",
        }
    from scipy.stats import mannwhitneyu, ttest_ind

    with warnings.catch_warnings():  # one of both may have no spread
        warnings.simplefilter("ignore", RuntimeWarning)
        result["t_p"] = float(ttest_ind(*groups, equal_var=False).pvalue)
    result["u_p"] = float(mannwhitneyu(*groups).pvalue)
    words = (
        f"difference {gap:.4g}, of {n[0]} and {n[1]} seeds on the same test cells, Welch's t-test "
        f"p = {result['t_p']:.2g}, Mann-Whitney p = {result['u_p']:.2g}"
    )
    return {**result, "statement": words}


def _identity(record: Record) -> tuple:
    return tuple(record[name] for name in IDENTITY)
