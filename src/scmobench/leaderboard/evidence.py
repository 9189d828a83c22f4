"""Evidence: which methods a paired test tells apart, and so which share a rank."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from scmobench.experiment.pairs import variances
from scmobench.leaderboard.roster import COMPARABLE, VARIANT
from scmobench.leaderboard.tables import score
from scmobench.metrics.paired import holm, paired_t

LEVEL = 0.05
FEWEST_SEEDS = 3
UNTESTED = "untested"
METHOD = [*COMPARABLE, "method"]
COLUMN = [*COMPARABLE, "metric"]
NUMBERS = ["rank", "group", "p_holm", "gap", "gap_low", "gap_high"]


class Tests(NamedTuple):
    """Methods against one: the difference of their metrics with its 95 % interval, p-values, and on what."""

    gap: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    evidence: np.ndarray


@dataclass
class Scores:
    """Scores of all methods of one column.

    Attributes
    ----------
    by_seed : methods x seeds, NaN where there is none.
    by_cell : methods x methods, variance over cells of the difference of two methods; NaN where unknown.
    n_cells : of the test set.
    root : whether the metric is the root of a mean over cells. Then its squares are tested. The
        delta method turns the interval of their difference d into one of the gap, as a - b = d / (a + b).
    """

    by_seed: np.ndarray
    by_cell: np.ndarray
    n_cells: float
    root: bool

    def against(self, one: int, others: np.ndarray) -> Tests:
        """Paired tests of some methods against one, on all seeds that both have (see `paired_t`)."""
        losses = self.by_seed**2 if self.root else self.by_seed
        both = np.isfinite(losses[others]) & np.isfinite(losses[one])
        n = both.sum(axis=1)
        a, b = (
            np.where((n > 0)[:, None] & ~both, np.nan, np.broadcast_to(x, both.shape))
            for x in (losses[others], losses[one])
        )
        a, b = _mean(a), _mean(b)  # without a common seed, the means over the seeds of each
        seeds = _variance(np.where(both, losses[others] - losses[one], np.nan), n)
        cells = self.by_cell[one, others]
        test = paired_t(a - b, (seeds, n), (cells, self.n_cells))
        enough = np.isfinite(cells) | (n >= FEWEST_SEEDS)
        p_value = np.where(enough, test.p_value, np.nan)
        scale = 1 / np.maximum(np.sqrt(a) + np.sqrt(b), 1e-300) if self.root else 1.0
        shown = [np.where(np.isfinite(p_value), x * scale, np.nan) for x in (a - b, test.low, test.high)]
        words = [self._words(*of) for of in zip(n, seeds, cells, p_value, strict=True)]
        return Tests(*shown, p_value, np.array(words))

    def _words(self, n: int, seeds: float, cells: float, p_value: float) -> str:
        if np.isnan(p_value):
            return UNTESTED
        if np.isnan(cells):
            return f"{n} seeds"
        of_cells = f"{self.n_cells:,.0f} cells"
        if n < 2:
            return f"{of_cells}, one seed" if n else f"{of_cells}, no common seed"
        return f"{n} seeds × {of_cells}" if seeds > 0 else f"{of_cells}, seeds change nothing"


def evidence(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Tie groups and tests of the rows of the standings.

    Sorted by mean, the best method leads. Every other one is tested against it, Holm-corrected over these
    tests. The group of the leader ends before the first method that is told apart from it, so that no method
    shares a rank with one that a better mean is told from. This is repeated with the best of the rest.
    Only methods of one track are compared: label-supervised ones are apart. A variant (ablation, changed
    settings) is in no group; it is tested against the method that it is a variant of.

    Parameters
    ----------
    table : rows of the standings, with ``variant``, ``able`` (to be ranked), ``loss`` (the mean,
        lower is better), ``root`` and ``primary``.
    runs : the roster.

    Returns
    -------
    DataFrame of the same index:

    - ``group``: 1 for the leaders, then 2, …; ``rank``: 1 + the number of methods in better groups.
    - ``p_holm``: against the best of the method's group; for the best of a group, against the best of the
      group above; none for the leader. For a variant, against its method, Holm-corrected over the variants.
    - ``gap``, ``gap_low``, ``gap_high``: the metric minus the leader's (a variant: minus its method's), over
      the seeds that both have, with a 95 % interval (not corrected); missing where untested.
    - ``evidence``: what ``p_holm`` rests on; the leader's is that of the second method.
    """
    results = {name: np.full(len(table), np.nan) for name in NUMBERS}
    results["evidence"] = np.full(len(table), "", dtype=object)
    finished = runs[runs["status"] == "ok"].groupby(METHOD, sort=False)["record"].agg(list).to_dict()
    table = table.assign(at=np.arange(len(table)), printed=table["mean"].map(score, na_action="ignore"))
    for key, panel in table[table["able"]].groupby(list(COMPARABLE), sort=False):
        methods = panel["method"].unique().tolist()
        # a mean over subtasks has no record
        own = [finished[*key, method] for method in methods]
        cells = np.full((len(own), len(own)), np.nan) if None in own[0] else variances(own)
        for _, column in panel.groupby("metric", sort=False):
            places = [methods.index(method) for method in column["method"]]
            known = cells[np.ix_(places, places)]
            _judge(results, column, known if column["primary"].iloc[0] else np.full_like(known, np.nan))
    return pd.DataFrame(results, index=table.index)


def _judge(results: dict[str, np.ndarray], column: pd.DataFrame, cells: np.ndarray) -> None:
    """Write what is found of one metric's methods and variants into the results, at the rows ``at``."""
    seeds = list(dict.fromkeys(seed for values in column["by_seed"] for seed in values))
    by_seed = np.array([[values.get(s, np.nan) for s in seeds] for values in column["by_seed"]], float)
    scores = Scores(by_seed, cells, column["n_test"].max(), bool(column["root"].iloc[0]))
    own = {name: values[column["at"]] for name, values in results.items()}
    names = column["method"].tolist()
    order = np.lexsort((names, column["loss"].to_numpy()))
    variant, track = (column[name].to_numpy(bool) for name in ("variant", "label_supervised"))
    for supervised in (False, True):
        ranked = order[(~variant & (track == supervised))[order]]
        _groups(own, scores, ranked, column["printed"].to_numpy())
    bases: dict[str, list[int]] = {}
    for i in np.flatnonzero(variant):
        bases.setdefault(VARIANT.split(names[i])[0], []).append(i)
    for base, variants in bases.items():
        if base in names:
            _tell(own, scores.against(names.index(base), np.array(variants)), np.array(variants), gaps=True)
    for name, values in own.items():
        results[name][column["at"]] = values


def _groups(results: dict[str, np.ndarray], scores: Scores, order: np.ndarray, printed: np.ndarray) -> None:
    left, group = order, 0
    while left.size:
        leader, others, group = left[0], left[1:], group + 1
        results["group"][leader] = group
        results["rank"][leader] = 1 + len(order) - len(left)
        if not others.size:
            return
        tests = scores.against(leader, others)
        corrected = _tell(results, tests, others, gaps=group == 1)
        if group == 1:
            results["evidence"][leader] = tests.evidence[0]
        same = (corrected >= LEVEL) | (np.isnan(corrected) & (printed[others] == printed[leader]))
        same &= np.cumsum(corrected < LEVEL) == 0
        members = np.flatnonzero(same).max(initial=-1) + 1  # untested methods between two of them included
        results["group"][others[:members]] = group
        results["rank"][others[:members]] = results["rank"][leader]
        left = others[members:]


def _tell(results: dict[str, np.ndarray], tests: Tests, rows: np.ndarray, gaps: bool) -> np.ndarray:
    """Write the tests of some methods, with p-values that are Holm-corrected over them; returns these."""
    corrected = holm(tests.p_value)
    results["p_holm"][rows], results["evidence"][rows] = corrected, tests.evidence
    if gaps:
        results["gap"][rows], results["gap_low"][rows], results["gap_high"][rows] = tests[:3]
    return corrected


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _variance(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Unbiased variance of each row; 0 where only rounding varies, NaN for fewer than two values."""
    deviation = np.where(np.isfinite(values), values - _mean(values)[:, None], 0)
    found = (deviation**2).sum(axis=1) / np.maximum(n - 1, 1)
    return np.where(n > 1, np.where(np.abs(deviation).max(axis=1, initial=0) > 1e-12, found, 0), np.nan)
