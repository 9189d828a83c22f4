"""One-to-one matching of cells within each batch: maximum-weight bipartite assignment, pruned.

Similarities are made in chunks of float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from scmobench.models.matching.pruned import (
    TOP_K,
    Block,
    candidates,
    chunks,
    solve_batch,
    solve_dense,
    solve_sparse,
)

HELD_CELLS = 5000  # up to here similarities of a batch are made once and held: 100 MB

Similarity = np.ndarray | tuple[np.ndarray, np.ndarray]


def assign(
    similarity: Similarity, batch1: Sequence[str], batch2: Sequence[str], top_k: int = TOP_K
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
        partner[rows] = columns[solve_batch(inside, len(rows), top_k)]
    return permutation(partner)


def assign_softmax(
    similarity: Similarity, batch1: Sequence[str], batch2: Sequence[str], quantile: float = 0.995
) -> sp.csr_matrix:
    """Matching by S' = softmax over rows + softmax over columns, pruned by quantile.

    Within each batch, pairs are kept that reach the ``quantile`` of their row or of their column of S' (as
    `numpy.quantile` interpolates it: the n - ceil(quantile (n - 1)) largest of n, and what equals the least
    of them). The matching of the largest total S' is taken among the kept pairs, or among all pairs where
    the kept ones hold no full matching (above 5,000 cells as `assign` does it). This is the inference of
    scMoGNN (Wen et al. 2022, KDD, modality matching), after the competition's winning contrastive entry.
    Works in float32, in chunks. Deviation: above 5,000 cells the number is exact and ties are cut.

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
    ValueError : as in `assign`, or a quantile outside [0, 1).
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
        kept = n - int(np.ceil(quantile * (n - 1)))
        try:
            match = solve_sparse(*candidates(weights, n, kept, ties=n <= HELD_CELLS), n)
        except ValueError:  # SciPy's way to say that there is no full matching
            if n > HELD_CELLS:
                match = solve_batch(weights, n, TOP_K, warm=True)
            else:
                match = solve_dense(weights(np.arange(n), np.arange(n)))
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
