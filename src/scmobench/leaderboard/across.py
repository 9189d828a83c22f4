"""Across data sets: mean ranks, wins, and which methods can be told apart there."""

from string import ascii_lowercase

import numpy as np
import pandas as pd

from scmobench.leaderboard import plain_words
from scmobench.leaderboard.evidence import LEVEL
from scmobench.leaderboard.roster import COMPARABLE

COVERED = 0.5
"""A data set counts where at least this share of the methods has a score; the others are special studies.
In the summary it has a column there, and a method a row where at least this share of its numbers is there."""
COLUMNS = ["method", "label_supervised", "data_sets", "mean_rank", "wins", "ties", "losses", "missing"]
COLUMNS += ["group", "critical_difference", "p_friedman"]


def across(standings: pd.DataFrame, task: str) -> pd.DataFrame:
    """Methods of one task over data sets, those of each track by mean rank.

    Of the `scmobench.leaderboard.standings.standings`, rows of the ranking metric count, without variants,
    controls and means over subtasks. Returns one row a method, with

    - ``data_sets``: how many the mean rank covers. At least half of the methods have these. The same cells
      with other values are one data set (`scmobench.leaderboard.plain_words.cells`).
      A method that lacks one of them (not run, or failed) has no mean rank and no group; ``missing`` lists
      what it lacks. So nothing is averaged away.
    - ``mean_rank``: of the means, over subtasks within a data set and then over data sets. (Two directions of
      the same cells are no two data sets.)
    - ``wins``, ``ties``, ``losses``: against each compared method on each data set and subtask where tests
      compare both with the leader; a tie is the same tie group (`scmobench.leaderboard.evidence`).
    - ``group``: letters; methods that share one cannot be told apart. Their mean ranks differ by less than
      the ``critical_difference`` of Nemenyi's test at 5 %, and nothing is told apart where Friedman's test
      (``p_friedman``) finds no difference (Demšar 2006, Journal of Machine Learning Research 7:1).

    Notes
    -----
    With six data sets few methods can be told apart, whatever the test: Wilcoxon's signed ranks of six pairs
    have p >= 0.03 before any correction. There is no Bayesian signed-rank test: it needs another package
    (baycomp), and a region of practical equivalence in the unit of each metric, on which nobody agrees.
    """
    rows = standings[(standings["task"] == task) & (standings["subtask"] != "Overall")]
    rows = rows[(rows["kind"] != "control") & rows["variant"].eq(False) & rows["primary"].eq(True)]
    found = [_track(track) for _, track in rows.groupby("label_supervised")]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)


def _track(rows: pd.DataFrame) -> pd.DataFrame:
    """`across` for methods that are ranked together."""
    rows = rows.assign(panel=rows.groupby(list(COMPARABLE)).ngroup())
    groups, losses = (rows.pivot(index="method", columns="panel", values=of) for of in ("group", "loss"))
    often = groups.columns[groups.notna().mean() >= COVERED]
    groups, held = groups[often].astype(float), groups[often].notna()
    names = rows.groupby("panel")[["dataset", "subtask"]].first().loc[often]
    same_cells = names["dataset"].map(plain_words.cells)
    compared = held.all(axis=1)
    ranks = losses.loc[compared, often].rank().T.groupby(same_cells).mean().T
    table = pd.DataFrame({"method": groups.index, "label_supervised": bool(rows["label_supervised"].iloc[0])})
    table["data_sets"] = same_cells.nunique()
    titles = names["dataset"] + " " + names["subtask"]
    table["missing"] = [list(titles[~held.loc[method]]) for method in groups.index]
    table["mean_rank"] = table["method"].map(ranks.mean(axis=1))
    table = table.sort_values(["mean_rank", "method"], ignore_index=True)
    tested = rows.pivot(index="method", columns="panel", values="tested")[often].eq(True)
    better = groups.where(tested)[compared].to_numpy()
    signs = np.sign(better[None] - better[:, None])  # method, other, panel: 1 where the other is worse
    signs[np.diag_indices(len(better))] = np.nan  # no tie with itself
    for name, sign in {"wins": 1, "ties": 0, "losses": -1}.items():
        count = (signs == sign).sum(axis=(1, 2))
        table[name] = table["method"].map(pd.Series(count, groups.index[compared])).astype("Int64")
    table["p_friedman"], table["critical_difference"] = _friedman(ranks)
    table["group"] = _letters(table)
    return table[COLUMNS]


def _friedman(ranks: pd.DataFrame) -> tuple[float, float]:
    """p-value of Friedman's test, and Nemenyi's critical difference of mean ranks; methods x data sets."""
    from scipy.stats import friedmanchisquare, studentized_range

    methods, sets = ranks.shape
    if methods < 3 or sets < 3:
        return np.nan, np.nan
    q = studentized_range.ppf(1 - LEVEL, methods, np.inf) / np.sqrt(2)
    p = friedmanchisquare(*ranks.to_numpy()).pvalue
    return float(p), float(q * np.sqrt(methods * (methods + 1) / (6 * sets)))


def _letters(table: pd.DataFrame) -> list[str]:
    """A letter for each largest run of methods, sorted by mean rank, that the critical difference spans."""
    ranks = table["mean_rank"].dropna().to_numpy()
    width = table["critical_difference"].iloc[0]
    if np.isnan(width):
        return [""] * len(table)
    if not table["p_friedman"].iloc[0] < LEVEL:
        width = np.inf
    ends = np.searchsorted(ranks, ranks + width, side="right")
    starts = [i for i in range(len(ranks)) if i == 0 or ends[i] > ends[i - 1]]
    letters = np.full(len(table), "", dtype=object)
    for letter, start in zip(ascii_lowercase, starts, strict=False):
        letters[start : ends[start]] += letter
    return letters.tolist()
