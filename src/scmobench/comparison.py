"""Comparing runs: a repetition with the records that are kept, and two methods seed by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from scmobench.records import sortable
from scmobench.roster import Record, number

IDENTITY = ["task", "dataset", "subtask", "method", "seed", "config_hash", "data_hash"]
METHOD = IDENTITY[:4]
FEWEST_SEEDS = 5


def compare(records: Iterable[Record], reference: Iterable[Record]) -> pd.DataFrame:
    """Scores of a repetition beside those of the same runs in the kept records.

    Runs are the same where task, dataset, subtask, method, seed, configuration hash and data hash
    agree. One row a score: the identity, ``metric``, ``ours``, ``reference`` and ``difference``
    (absolute; 0 where the metric is not applicable in both, infinite where in one only). Runs
    without a counterpart are not in it.
    """
    kept = {_identity(r): r for r in reference if r["status"] == "ok"}
    rows = []
    for run in sorted((r for r in records if r["status"] == "ok"), key=lambda r: sortable(_identity(r))):
        other = kept.get(_identity(run))
        for metric in sorted({*run["scores"], *other["scores"]}) if other else ():
            mine, theirs = number(run["scores"].get(metric)), number(other["scores"].get(metric))
            if mine is None or theirs is None:
                difference = 0.0 if mine is theirs else math.inf
            else:
                difference = abs(mine - theirs)
            rows.append([*_identity(run), metric, mine, theirs, difference])
    return pd.DataFrame(rows, columns=[*IDENTITY, "metric", "ours", "reference", "difference"])


def verdict(compared: pd.DataFrame, tolerance: float = 1e-6) -> str:
    """How many scores were reproduced; where some were not, how many means over seeds, and of which methods.

    Another processor rounds otherwise, and training amplifies that: then a mean is reproduced that
    lies within one standard deviation of the kept seeds (two or more) from theirs.

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
        lines.append(f"on another processor trained networks differ; of the means over seeds {share}")
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


def paired(first: Mapping[Any, float], second: Mapping[Any, float]) -> dict[str, Any]:
    """Paired test of two methods over the seeds that both have.

    A seed fixes the split where it is random, so scores of one seed are scores of the same cells.
    Both the t-test and Wilcoxon's signed-rank test are two-sided and not corrected for the number
    of comparisons.

    Returns
    -------
    ``n``, ``difference`` (mean of first - second), ``t_p``, ``wilcoxon_p`` (None below five seeds
    or where all differences are equal) and ``statement``, the same in words.
    """
    seeds = sorted(set(first) & set(second), key=lambda seed: sortable([seed]))
    gaps = [first[s] - second[s] for s in seeds]
    mean = math.fsum(gaps) / len(gaps) if gaps else math.nan
    result = {"n": len(seeds), "difference": mean, "t_p": None, "wilcoxon_p": None}
    if len(seeds) < FEWEST_SEEDS:
        return {**result, "statement": f"n too small for a paired test (common seeds: {len(seeds)})"}
    if max(gaps) - min(gaps) <= 1e-12:
        return {**result, "statement": f"difference {mean:.4g} with each of {len(seeds)} seeds, no test"}
    from scipy.stats import ttest_1samp, wilcoxon

    result["t_p"] = float(ttest_1samp(gaps, 0.0).pvalue)
    result["wilcoxon_p"] = float(wilcoxon(gaps).pvalue)
    words = (
        f"difference {mean:.4g} over {len(seeds)} seeds, paired t-test p = {result['t_p']:.2g}, "
        f"Wilcoxon p = {result['wilcoxon_p']:.2g}"
    )
    return {**result, "statement": words}


def _identity(record: Record) -> tuple:
    return tuple(record[name] for name in IDENTITY)
