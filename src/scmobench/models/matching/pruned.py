"""The optimal one-to-one matching of a batch from few of its pairs (column generation).

The full assignment of n cells takes n² float64 values and up to n³ time. Nearly all of the optimum lies
among each cell's best few partners, so a sparse problem on those is solved first (Jonker-Volgenant, in
SciPy). By linear programming duality a matching is optimal if there are profits u and prices p with
u_i + p_j ≥ s_ij for all pairs and equality for the matched ones. Pairs that break this are added, and the
problem is solved again, until there are none.
"""

from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

CHUNK = 1024
DENSE_CELLS = 1000  # up to here the dense solver takes milliseconds and 8 MB
TOP_K = 50  # pairs of each row and each column in the first problem
ADDED, ADDED_WARM = 20, 60  # improving pairs added for a row in a round
ENTROPIC = ((1e-2, 30), (1e-3, 50))  # temperatures as shares of the range of similarities, and their rounds
TOLERANCE = 2e-7  # mean loss of a pair against the optimum, in units of the range of similarities

Block = Callable[[np.ndarray, np.ndarray], np.ndarray]  # positions of rows, of columns -> similarities
Duals = tuple[np.ndarray, np.ndarray]  # profit of each row, price of each column
Pairs = tuple[np.ndarray, np.ndarray]  # row · n + column, ascending; similarity


def solve_batch(block: Block, n: int, k: int, warm: bool = False) -> np.ndarray:
    """Partner of each row of one batch; ``block`` takes positions within the batch.

    ``warm`` starts from prices of the entropic problem. For sums of softmaxes without a full matching
    among their best pairs, this saves nearly all of the first search (24 s to 1 s at 3,994 cells); for
    cosines of two SVDs it costs time.
    """
    if n <= DENSE_CELLS:
        return solve_dense(block(np.arange(n), np.arange(n)))
    # with the pairs of row i and column i the sparse problem always has a full matching
    diagonal = np.concatenate([np.diagonal(block(part, part)) for part in chunks(n)])
    pairs, values = _merge(candidates(block, n, min(k, n)), (np.arange(n) * (n + 1), diagonal))
    profit, price = _entropic(pairs, values, n) if warm else (np.zeros(n), np.zeros(n))
    while True:
        # net of profit and price: the same problem, which is solved fast once most prices are right
        match = solve_sparse(pairs, values - profit[pairs // n] - price[pairs % n], n)
        profit, price = _duals(pairs, values, match, price)
        better, loss = _improving(block, profit, price, ADDED_WARM if warm else ADDED)
        known = len(pairs)
        pairs, values = _merge((pairs, values), better)
        if loss <= TOLERANCE * np.ptp(values) or len(pairs) == known:
            return match


def _merge(first: Pairs, second: Pairs) -> Pairs:
    """Both sets of pairs, each pair once."""
    pairs, index = np.unique(np.concatenate([first[0], second[0]]), return_index=True)
    return pairs, np.concatenate([first[1], second[1]])[index]


def chunks(n: int) -> Iterator[np.ndarray]:
    """0 … n - 1, a thousand at a time."""
    for start in range(0, n, CHUNK):
        yield np.arange(start, min(start + CHUNK, n))


def candidates(block: Block, n: int, k: int, ties: bool = False) -> Pairs:
    """Pairs among the k best of their row or of their column; with ``ties`` all that equal the kth best."""
    everything, pairs, values = np.arange(n), [], []
    for part in chunks(n):
        for chunk, by_row in ((block(part, everything), True), (block(everything, part).T, False)):
            if ties:
                place, best = np.nonzero(chunk >= np.partition(chunk, n - k, axis=1)[:, [n - k]])
            else:
                best = np.argpartition(chunk, n - k, axis=1)[:, n - k :].ravel()
                place = np.repeat(np.arange(len(part)), k)
            pairs.append(part[place] * n + best if by_row else best * n + part[place])
            values.append(chunk[place, best])
    pairs, first = np.unique(np.concatenate(pairs), return_index=True)
    return pairs, np.concatenate(values)[first]


def solve_sparse(pairs: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Partner of each row; ValueError if the pairs hold no full matching."""
    rows, columns = np.divmod(pairs, n)
    # a stored zero would mean "no pair": the best pair costs 1, every other one more
    cost = 1 + (values.max() - values.astype(np.float64))
    return min_weight_full_bipartite_matching(sp.csr_matrix((cost, (rows, columns)), shape=(n, n)))[1]


def solve_dense(weights: np.ndarray) -> np.ndarray:
    return linear_sum_assignment(weights, maximize=True)[1]


def _duals(pairs: np.ndarray, values: np.ndarray, match: np.ndarray, price: np.ndarray) -> Duals:
    """Profit of each row and price of each column that prove ``match`` optimal among ``pairs``.

    Starting from ``price`` of the previous round, a column's price rises until no row prefers the column to
    its partner (longest paths by Bellman-Ford, all pairs at once).
    """
    n = len(match)
    rows, columns = np.divmod(pairs, n)
    values = values.astype(np.float64)
    matched = values[np.searchsorted(pairs, np.arange(n) * n + match)]
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(n))
    surplus, held = (values - matched[rows])[order], match[rows][order]
    for _ in range(n):
        raised = np.maximum(price, np.maximum.reduceat(price[held] + surplus, starts))
        if (raised <= price + 1e-12).all():
            break
        price = raised
    return matched - price[match], price


def _entropic(pairs: np.ndarray, values: np.ndarray, n: int) -> Duals:
    """Profits and prices near the optimum, from the entropic problem (Sinkhorn; Cuturi 2013), cooled."""
    rows, columns = np.divmod(pairs, n)
    order = np.argsort(columns, kind="stable")
    starts = [np.searchsorted(side, np.arange(n)) for side in (rows, columns[order])]
    values = values.astype(np.float64)
    by_column, owner = values[order], rows[order]

    def soft(excess: np.ndarray, side: int, heat: float) -> np.ndarray:
        top = np.maximum.reduceat(excess, starts[side])
        away = excess - np.repeat(top, np.diff(starts[side], append=len(excess)))
        return top + heat * np.log(np.add.reduceat(np.exp(away / heat), starts[side]))

    price = np.zeros(n)
    for share, rounds in ENTROPIC:
        heat = max(share * float(np.ptp(values)), np.finfo(np.float32).tiny)
        for _ in range(rounds):
            profit = soft(values - price[columns], 0, heat)
            price = soft(by_column - profit[owner], 1, heat)
    return np.maximum.reduceat(values - price[columns], starts[0]), price


def _improving(block: Block, profit: np.ndarray, price: np.ndarray, added: int) -> tuple[Pairs, float]:
    """Pairs worth more than profit + price, the best few of each row; bound on the mean loss of a pair."""
    n = len(price)
    everything, pairs, values, loss = np.arange(n), [np.empty(0, np.int64)], [np.empty(0, np.float32)], 0.0
    profit, price = profit.astype(np.float32), price.astype(np.float32)
    for part in chunks(n):
        chunk = block(part, everything)
        excess = chunk - price - profit[part, None]
        loss += float(np.maximum(excess.max(axis=1), 0).sum(dtype=np.float64))
        some = np.flatnonzero((excess > 0).any(axis=1))
        best = np.argpartition(excess[some], n - added, axis=1)[:, n - added :]
        row, place = np.nonzero(np.take_along_axis(excess[some], best, axis=1) > 0)
        column = best[row, place]
        pairs.append(part[some[row]] * n + column)
        values.append(chunk[some[row], column])
    return (np.concatenate(pairs), np.concatenate(values)), loss / n
