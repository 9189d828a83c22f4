"""Evidence: which methods a paired test tells apart, and so which share a rank."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scmobench.experiment.cell_differences import variances
from scmobench.leaderboard.roster import COMPARABLE, VARIANT
from scmobench.leaderboard.tables import score
from scmobench.metrics.paired import holm, paired_t

LEVEL = 0.05
FEWEST_SEEDS = 3
UNTESTED = "untested"
METHOD = [*COMPARABLE, "method"]
COLUMN = [*COMPARABLE, "metric"]
NUMBERS = ["rank", "group", "p_holm", "gap", "gap_low", "gap_high"]


Results = dict[str, np.ndarray]  # name -> one value a method


@dataclass
class Scores:
    """Scores of all methods of one column."""

    by_seed: np.ndarray  # methods x seeds, NaN where there is none
    by_cell: np.ndarray  # methods x methods: variance over cells of the difference of two; NaN: unknown
    n_cells: float  # of the test set
    # whether the metric is the root of a mean over cells. Then its squares are tested, and the delta method
    # turns the interval of their difference d into one of the gap, as a - b = d / (a + b)
    root: bool

    def against(self, one: int, others: np.ndarray) -> Results:
        """Paired tests of some methods against one, on all seeds that both have (see `paired_t`).

        Returns the difference of their metrics (``gap``) with its 95 % interval, the p-values, not corrected
        (``p_holm``), and what they rest on (``evidence``).
        """
        losses = self.by_seed**2 if self.root else self.by_seed
        both = np.isfinite(losses[others]) & np.isfinite(losses[one])
        n = both.sum(axis=1)
        used = both | (n == 0)[:, None]  # without a common seed, all seeds of each
        a, b = (_mean(np.where(used, x, np.nan)) for x in (losses[others], losses[one]))
        seeds = _variance(np.where(both, losses[others] - losses[one], np.nan), n)
        cells = self.by_cell[one, others]
        test = paired_t(a - b, (seeds, n), (cells, self.n_cells))
        enough = np.isfinite(cells) | (n >= FEWEST_SEEDS)
        p_value = np.where(enough, test.p_value, np.nan)
        scale = 1 / np.maximum(np.sqrt(a) + np.sqrt(b), 1e-300) if self.root else 1.0
        gaps = {"gap": a - b, "gap_low": test.low, "gap_high": test.high}
        found = {name: np.where(np.isfinite(p_value), gap * scale, np.nan) for name, gap in gaps.items()}
        words = [self._words(*of) for of in zip(n, seeds, cells, p_value, strict=True)]
        return found | {"p_holm": p_value, "evidence": np.array(words)}

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

    ``table`` holds rows of the standings, with ``variant``, ``able`` (to be ranked), ``loss`` (the mean, less
    is better), ``root`` and ``primary``; ``runs`` is the roster. Returns a DataFrame of the same index:

    - ``group``: 1 for the leaders, then 2, …; ``rank``: 1 + the number of methods in better groups.
    - ``p_holm``: against the best of the method's group; for the best of a group, against the best of the
      group above; none for the leader. For a variant, against its method, Holm-corrected over the variants.
    - ``gap``, ``gap_low``, ``gap_high``: the metric minus the leader's (a variant: minus its method's), over
      the seeds that both have, with a 95 % interval (not corrected); missing where untested.
    - ``evidence``: what ``p_holm`` rests on; the leader's is that of the first method tested.
    """
    results = pd.DataFrame(np.nan, table.index, NUMBERS).assign(evidence="")
    finished = runs[runs["status"] == "ok"].groupby(METHOD, sort=False)["record"].agg(list).to_dict()
    table = table.assign(printed=table["mean"].map(score, na_action="ignore"))
    for key, panel in table[table["able"]].groupby(list(COMPARABLE), sort=False):
        methods = panel["method"].unique().tolist()
        # a mean over subtasks has no record
        own = [finished[*key, method] for method in methods]
        cells = np.full((len(own), len(own)), np.nan) if None in own[0] else variances(own)
        for _, column in panel.groupby("metric", sort=False):
            places = [methods.index(method) for method in column["method"]]
            known = 1 if column["primary"].iloc[0] else np.nan  # of cells: what they tell of this metric
            results.loc[column.index] = _judged(column, known * cells[np.ix_(places, places)])
    return results


def _judged(column: pd.DataFrame, cells: np.ndarray) -> pd.DataFrame:
    """What is found of one metric's methods and variants."""
    seeds = list(dict.fromkeys(seed for values in column["by_seed"] for seed in values))
    by_seed = np.array([[values.get(s, np.nan) for s in seeds] for values in column["by_seed"]], float)
    scores = Scores(by_seed, cells, column["n_test"].max(), bool(column["root"].iloc[0]))
    results = {name: np.full(len(column), np.nan) for name in NUMBERS}
    results["evidence"] = np.full(len(column), "", dtype=object)
    names = column["method"].tolist()
    order = np.lexsort((names, column["loss"].to_numpy()))
    variant, track = (column[name].to_numpy(bool) for name in ("variant", "label_supervised"))
    for supervised in (False, True):
        ranked = order[(~variant & (track == supervised))[order]]
        _groups(results, scores, ranked, column["printed"].to_numpy())
    bases = np.array([VARIANT.split(name)[0] for name in names])
    for base in {*bases[variant]} & {*names}:
        variants = np.flatnonzero(variant & (bases == base))
        _tell(results, scores.against(names.index(base), variants), variants)
    return pd.DataFrame(results, column.index)


def _groups(results: Results, scores: Scores, order: np.ndarray, printed: np.ndarray) -> None:
    left, group = order, 0
    while left.size:
        leader, others, group = left[0], left[1:], group + 1
        results["group"][leader] = group
        results["rank"][leader] = 1 + len(order) - len(left)
        if not others.size:
            return
        tests = scores.against(leader, others)
        if group == 1:
            results["evidence"][leader] = next((e for e in tests["evidence"] if e != UNTESTED), UNTESTED)
        else:  # gaps are to the leader of all
            tests = {name: tests[name] for name in ("p_holm", "evidence")}
        corrected = _tell(results, tests, others)
        same = (corrected >= LEVEL) | (np.isnan(corrected) & (printed[others] == printed[leader]))
        same &= np.cumsum(corrected < LEVEL) == 0
        members = np.flatnonzero(same).max(initial=-1) + 1  # untested methods between two of them included
        results["group"][others[:members]] = group
        results["rank"][others[:members]] = results["rank"][leader]
        left = others[members:]


def _tell(results: Results, tests: Results, rows: np.ndarray) -> np.ndarray:
    """Write the tests of some methods, with p-values that are Holm-corrected over them; returns these."""
    corrected = holm(tests["p_holm"])
    for name, values in (tests | {"p_holm": corrected}).items():
        results[name][rows] = values
    return corrected


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def _variance(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Unbiased variance of each row; 0 where only rounding varies, NaN for fewer than two values."""
    deviation = np.where(np.isfinite(values), values - _mean(values)[:, None], 0)
    found = (deviation**2).sum(axis=1) / np.maximum(n - 1, 1)
    return np.where(n > 1, np.where(np.abs(deviation).max(axis=1, initial=0) > 1e-12, found, 0), np.nan)
