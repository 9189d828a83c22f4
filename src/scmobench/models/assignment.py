"""One-to-one matching of cells within each batch: maximum-weight bipartite assignment, pruned.

The full assignment of n cells costs n² float64 values and up to n³ time. Nearly all of the optimum lies
among each cell's best few partners: a sparse problem on those is solved first, then the prices of its
solution tell which of all pairs would still improve it, and these are added until none is left.
Similarities are made in chunks of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from scmobench.models.memory import check_memory

CHUNK = 1024
DENSE_CELLS = 1000  # up to here the dense solver takes milliseconds and 8 MB
HELD_CELLS = 5000  # up to here similarities of a batch are made once and held: 100 MB
ADDED = 20  # improving pairs added for a row and round
TOLERANCE = 2e-7  # mean loss of a pair against the optimum, in units of the range of similarities

Similarity = np.ndarray | tuple[np.ndarray, np.ndarray]


def assign(
    similarity: Similarity, batch1: Sequence[str], batch2: Sequence[str], top_k: int = 50
) -> sp.csr_matrix:
    """The one-to-one matching within batches that has the largest total similarity.

    Solved on the pairs that are among the ``top_k`` of their row or of their column, and any one full
    matching beside them (Jonker-Volgenant for sparse problems, in SciPy). By linear programming duality
    a matching is optimal if there are profits u, prices p with u_i + p_j ≥ s_ij for all pairs and
    equality for the matched; pairs that break this are added and the problem solved again (column
    generation), so that the result is the optimum of the full problem to six digits.

    Parameters
    ----------
    similarity : n x n (mod1 cells x mod2 cells), or its two factors (n x d, n x d), whose product
        left · rightᵀ is then made in chunks and never kept whole.
    batch1, batch2 : batch of each mod1 cell (row) and each mod2 cell (column).
    top_k : pairs kept for each row and each column.

    Returns
    -------
    n x n CSR float32 with a single 1 in each row and column.

    Raises
    ------
    ValueError : shapes that do not fit, values that are not finite, or a batch with different numbers
        of cells on the two sides.
    """
    if top_k < 1:
        raise ValueError(f"expected top_k of at least 1, found {top_k}")
    block = _blocks(similarity, len(batch1), len(batch2))
    partner = np.empty(len(batch1), dtype=np.int64)
    for rows, columns in shared_batches(batch1, batch2):
        inside = _inside(block, rows, columns)
        partner[rows] = columns[_solve_batch(inside, len(rows), top_k)]
    return permutation(partner)


def assign_softmax(
    similarity: Similarity, batch1: Sequence[str], batch2: Sequence[str], quantile: float = 0.995
) -> sp.csr_matrix:
    """Matching by S' = softmax over rows + softmax over columns, pruned by quantile.

    Within each batch, pairs are kept that reach the ``quantile`` of their row or of their column of
    S'; the matching of the largest total S' is taken among them, or among all pairs where they hold no
    full matching. The inference of scMoGNN (Wen et al. 2022, KDD, modality matching), after the
    competition's winning contrastive entry. Works in float32, in chunks: S' is held whole
    only where the pairs that were kept hold no full matching.

    Parameters
    ----------
    similarity : n x n logits (temperature already in), or their two factors, as in `assign`.
    batch1, batch2 : batch of each row and each column.
    quantile : in [0, 1); 0 keeps all pairs.

    Returns
    -------
    n x n CSR float32 with a single 1 in each row and column.

    Raises
    ------
    ValueError : as in `assign`, a quantile outside [0, 1), or too little memory for all pairs.
    """
    if not 0 <= quantile < 1:
        raise ValueError(f"expected a quantile in [0, 1), found {quantile}")
    block = _blocks(similarity, len(batch1), len(batch2))
    partner = np.empty(len(batch1), dtype=np.int64)
    for rows, columns in shared_batches(batch1, batch2):
        n, logits = len(rows), _inside(block, rows, columns)
        if n <= HELD_CELLS:
            logits = _blocks(logits(np.arange(n), np.arange(n)), n, n)
        weights = softmax_sum(logits, n)
        kept = max(n - int(np.ceil(quantile * n)), 1)
        try:
            match = _solve_sparse(*_candidates(weights, n, kept), n)
        except ValueError:  # SciPy's way to say that there is no full matching
            check_memory(12e-9 * n**2, f"all pairs of {n} cells", "lower `quantile`, to keep more pairs")
            match = _solve_dense(weights(np.arange(n), np.arange(n)))
        partner[rows] = columns[match]
    return permutation(partner)


def shared_batches(batch1: Sequence[str], batch2: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of each batch.

    Raises
    ------
    ValueError : a batch with different numbers of mod1 and mod2 cells.
    """
    first, second = np.asarray(batch1).astype(str), np.asarray(batch2).astype(str)
    names = np.union1d(first, second).tolist()
    groups = [(np.flatnonzero(first == name), np.flatnonzero(second == name)) for name in names]
    for name, (rows, columns) in zip(names, groups, strict=True):
        if len(rows) != len(columns):
            raise ValueError(
                f"a one-to-one matching needs as many mod1 as mod2 cells in each batch; batch {name!r} has "
                f"{len(rows)} and {len(columns)}: check obs['batch'] of both modalities"
            )
    yield from groups


def permutation(partner: np.ndarray) -> sp.csr_matrix:
    """0/1 matrix with the 1 of row i in column ``partner[i]``, CSR float32."""
    n = len(partner)
    return sp.csr_matrix((np.ones(n, dtype=np.float32), partner, np.arange(n + 1)), shape=(n, n))


Block = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _blocks(similarity: Similarity, n1: int, n2: int) -> Block:
    """Rows x columns -> float32 similarities, whichever way they were given."""
    if isinstance(similarity, tuple):
        left, right = (np.asarray(factor, dtype=np.float32) for factor in similarity)
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
            raise ValueError(f"expected factors n x d and n x d, found {left.shape} and {right.shape}")
        shape, finite = (len(left), len(right)), np.isfinite(left).all() and np.isfinite(right).all()
    else:
        whole = np.asarray(similarity)
        shape, finite = whole.shape, np.isfinite(whole).all()
    if shape != (n1, n2):
        raise ValueError(f"expected similarities of {n1} x {n2} cells (as the batch labels), found {shape}")
    if not finite:
        raise ValueError("expected finite similarities, found NaN or infinity")
    if isinstance(similarity, tuple):
        return lambda rows, columns: left[rows] @ right[columns].T
    return lambda rows, columns: whole[np.ix_(rows, columns)].astype(np.float32, copy=False)


def _inside(block: Block, rows: np.ndarray, columns: np.ndarray) -> Block:
    """``block`` for one batch, by positions within the batch."""
    return lambda r, c: block(rows[r], columns[c])


def _solve_batch(block: Block, n: int, k: int) -> np.ndarray:
    """Partner of each row of one batch; ``block`` takes positions within the batch."""
    if n <= DENSE_CELLS:
        return _solve_dense(block(np.arange(n), np.arange(n)))
    pairs, values = _merge(_candidates(block, n, min(k, n)), _diagonal(block, n))
    profit, price = np.zeros(n), np.zeros(n)
    while True:
        # net of profit and price: the same problem, and soon solved where most of the prices are right
        match = _solve_sparse(pairs, values - profit[pairs // n] - price[pairs % n], n)
        profit, price = _duals(pairs, values, match, price)
        better, loss = _improving(block, profit, price)
        known = len(pairs)
        pairs, values = _merge((pairs, values), better)
        if loss <= TOLERANCE * np.ptp(values) or len(pairs) == known:
            return match


Duals = tuple[np.ndarray, np.ndarray]  # profit of each row, price of each column
Pairs = tuple[np.ndarray, np.ndarray]  # row · n + column, ascending; similarity


def _merge(first: Pairs, second: Pairs) -> Pairs:
    """Both sets of pairs, each pair once."""
    pairs, index = np.unique(np.concatenate([first[0], second[0]]), return_index=True)
    return pairs, np.concatenate([first[1], second[1]])[index]


def chunks(n: int) -> Iterator[np.ndarray]:
    """0 … n - 1, a thousand at a time."""
    for start in range(0, n, CHUNK):
        yield np.arange(start, min(start + CHUNK, n))


def _candidates(block: Block, n: int, k: int) -> Pairs:
    """Pairs among the k best of their row or of their column."""
    everything, pairs, values = np.arange(n), [], []
    for part in chunks(n):
        for chunk, by_row in ((block(part, everything), True), (block(everything, part).T, False)):
            best = np.argpartition(chunk, n - k, axis=1)[:, n - k :]
            pairs.append((part[:, None] * n + best if by_row else best * n + part[:, None]).ravel())
            values.append(np.take_along_axis(chunk, best, axis=1).ravel())
    pairs, first = np.unique(np.concatenate(pairs), return_index=True)
    return pairs, np.concatenate(values)[first]


def _diagonal(block: Block, n: int) -> Pairs:
    """Row i with column i: a full matching, so that the sparse problem always has one."""
    return np.arange(n) * (n + 1), np.concatenate([np.diagonal(block(part, part)) for part in chunks(n)])


def _solve_sparse(pairs: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Partner of each row; ValueError where the pairs hold no full matching."""
    rows, columns = np.divmod(pairs, n)
    # a stored zero would read as "no pair": the best pair costs 1, every other one more
    cost = 1 + (values.max() - values.astype(np.float64))
    return min_weight_full_bipartite_matching(sp.csr_matrix((cost, (rows, columns)), shape=(n, n)))[1]


def _solve_dense(weights: np.ndarray) -> np.ndarray:
    return linear_sum_assignment(weights, maximize=True)[1]


def _duals(pairs: np.ndarray, values: np.ndarray, match: np.ndarray, price: np.ndarray) -> Duals:
    """Profit of each row and price of each column that prove ``match`` optimal among ``pairs``.

    A column's price rises until no row would rather have it than its partner (longest paths by
    Bellman-Ford, all pairs at once), from the ``price`` of the round before.
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


def _improving(block: Block, profit: np.ndarray, price: np.ndarray) -> tuple[Pairs, float]:
    """Pairs worth more than profit + price, the first few of each row; bound of the mean loss of a pair."""
    n = len(price)
    everything, pairs, values, loss = np.arange(n), [np.empty(0, np.int64)], [np.empty(0, np.float32)], 0.0
    profit, price = profit.astype(np.float32), price.astype(np.float32)
    for part in chunks(n):
        chunk = block(part, everything)
        excess = chunk - price - profit[part, None]
        loss += float(np.maximum(excess.max(axis=1), 0).sum(dtype=np.float64))
        some = np.flatnonzero((excess > 0).any(axis=1))
        best = np.argpartition(excess[some], n - ADDED, axis=1)[:, n - ADDED :]
        row, place = np.nonzero(np.take_along_axis(excess[some], best, axis=1) > 0)
        column = best[row, place]
        pairs.append(part[some[row]] * n + column)
        values.append(chunk[some[row], column])
    return (np.concatenate(pairs), np.concatenate(values)), loss / n


def softmax_sum(block: Block, n: int) -> Block:
    """Softmax over rows + softmax over columns of n x n logits, which ``block`` makes; float32.

    Returns a function as ``block`` is: positions of rows, positions of columns -> rows x columns.
    """
    everything = np.arange(n)

    def scale(by_row: bool) -> tuple[np.ndarray, np.ndarray]:
        """Largest logit of each row (column), and the sum that its softmax divides by."""
        found = []
        for part in chunks(n):
            logits = block(part, everything) if by_row else block(everything, part)
            largest = logits.max(axis=int(by_row), keepdims=True)
            np.exp(np.subtract(logits, largest, out=logits), out=logits)
            found.append((largest.ravel(), logits.sum(axis=int(by_row))))
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    (row_max, row_sum), (column_max, column_sum) = scale(True), scale(False)

    def softmaxes(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        logits = block(rows, columns)
        total = np.exp(logits - row_max[rows, None])
        total /= row_sum[rows, None]
        np.exp(np.subtract(logits, column_max[columns], out=logits), out=logits)
        logits /= column_sum[columns]
        return np.add(total, logits, out=total)

    return softmaxes
