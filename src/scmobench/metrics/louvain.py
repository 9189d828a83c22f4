"""Louvain clusters of a symmetric kNN graph, with the competition's partitions and their numbering.

The competition clustered with the package louvain (vtraag), which has no wheels for newer Pythons. This is an
independent implementation, from a description of the algorithm: the same membership bit for bit.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from scmobench.compiled import compiled

LEAST_GAIN = 1e-10
ROUNDING = 1e-6  # far above the rounding of a gain, far below what a move brings
SEED_FOR_ZERO = 4357  # igraph's generator takes this one for seed 0


def partitions(graph: sp.spmatrix, resolutions: Sequence[float], seed: int = 0) -> Iterator[np.ndarray]:
    """Memberships at each resolution: one int64 a cell, clusters numbered from the largest.

    Maximises sum_c (e_c - gamma K_c^2 / m), with e_c the entries inside cluster c, K_c the sum of its
    degrees, m all entries and gamma the resolution (Reichardt & Bornholdt 2006). Single nodes move, then
    clusters become nodes, until nothing moves (Blondel et al. 2008). Every resolution starts from the seed.

    Parameters
    ----------
    graph : cells x cells, both directions of every edge; each stored value but 0 counts 1.
    resolutions : gamma, 0 or above.
    seed : as in the package louvain 0.8.2.
    """
    entries = sp.csr_matrix(graph, copy=True)
    entries.sum_duplicates()
    entries.eliminate_zeros()
    start, neighbour = entries.indptr.astype(np.int64), entries.indices.astype(np.int64)
    for resolution in resolutions:
        yield _partition(start, neighbour, float(resolution), np.random.RandomState(seed or SEED_FOR_ZERO))


def _partition(
    start: np.ndarray, neighbour: np.ndarray, resolution: float, random: np.random.RandomState
) -> np.ndarray:
    membership = np.arange(len(start) - 1)
    cells, weight = np.ones(len(membership), np.int64), np.ones(len(neighbour))
    while len(neighbour):
        nodes = len(start) - 1
        order = _shuffled(_draws(nodes, random))
        community = _swept(start, neighbour, weight, order, resolution)
        members = np.bincount(community, minlength=nodes)
        cells = np.bincount(community, cells, minlength=nodes).astype(np.int64)
        ranked = np.lexsort((-members, -cells))[: np.count_nonzero(members)]
        if len(ranked) == nodes:
            break
        number = np.empty(nodes, np.int64)
        number[ranked] = np.arange(len(ranked))
        community, cells = number[community], cells[ranked]
        membership = community[membership]
        start, neighbour, weight = _merged(start, neighbour, weight, community, len(ranked))
    return membership


def _draws(n: int, random: np.random.RandomState) -> np.ndarray:
    """One number below n, below n - 1, ... below 2, each from a random word of 32 bits.

    Lemire (2019), Fast random integer generation in an interval: the high half of word x r; a word is
    rejected if the low half is below (2^32 - r) mod r.
    """
    below = np.arange(n, 1, -1, dtype=np.uint64)
    words = _words(len(below), random)
    least = (np.uint64(2**32) - below) % below
    while True:
        product = words * below
        rejected = np.flatnonzero((product & np.uint64(2**32 - 1)) < least)
        if not len(rejected):
            return (product >> np.uint64(32)).astype(np.int64)
        words = np.append(np.delete(words, rejected[0]), _words(1, random))


def _words(n: int, random: np.random.RandomState) -> np.ndarray:
    return random.randint(0, 2**32, size=n, dtype=np.uint32).astype(np.uint64)


@compiled("int64[::1](int64[::1])")
def _shuffled(draws):
    """Fisher-Yates from the end."""
    order = np.arange(draws.size + 1)
    for step in range(draws.size):
        last = draws.size - step
        order[last], order[draws[step]] = order[draws[step]], order[last]
    return order


@compiled("Tuple((float64[::1], float64[::1]))(int64[::1], int64[::1], float64[::1])")
def _degrees(start, neighbour, weight):
    """Sum of each node's weights, and the weight of its loop."""
    n = start.size - 1
    degree, loop = np.zeros(n), np.zeros(n)
    for v in range(n):
        for e in range(start[v], start[v + 1]):
            degree[v] += weight[e]
            if neighbour[e] == v:
                loop[v] += weight[e]
    return degree, loop


@compiled("int64(int64, int64[::1], int64[::1], float64[::1], int64[::1], float64[::1], int64[::1], int64)")
def _add_weights(v, start, neighbour, weight, community, to, met, n_met):
    """Add the weights of node ``v`` to ``to``, by community; ``met`` lists the communities met so far."""
    for e in range(start[v], start[v + 1]):
        c = community[neighbour[e]]
        if to[c] == 0:
            met[n_met] = c
            n_met += 1
        to[c] += weight[e]
    return n_met


@compiled(
    "Tuple((int64, float64, float64))"
    "(int64, int64[::1], float64[::1], float64[::1], float64, float64, float64, float64, float64)"
)
def _best_move(a, near, to, strength, k, loop, stay, resolution, total):
    """The best community near a node of degree ``k`` in ``a``, its gain, and the highest gain elsewhere.

    ``to`` holds the node's weight to each community, and is set back to 0. ``a`` itself has gain 0.
    """
    target, best, highest = a, 0.0, -np.inf
    for c in near:
        if c != a:
            gain = 2 * (to[c] + loop - resolution * k * (strength[c] + k) / total) - 2 * stay
            highest = max(highest, gain)
            if gain > LEAST_GAIN and (gain > best or (gain == best and c < target)):
                target, best = c, gain
        to[c] = 0
    return target, best, highest


@compiled("int64[::1](int64[::1], int64[::1], float64[::1], int64[::1], float64)")
def _swept(start, neighbour, weight, order, resolution):
    """Community of each node, after moving nodes one by one until none gains by a move.

    A node is skipped while none of its neighbours has moved and the degree moved elsewhere is too little to
    make its best gain positive. Degrees and weights are whole numbers, so their sums are exact; the order of
    the operations in a gain is that of the package.
    """
    n = order.size
    degree, loop = _degrees(start, neighbour, weight)
    total = degree.sum()  # of whole numbers
    community, members, strength = np.arange(n), np.ones(n, np.int64), degree.copy()
    empty, n_empty = np.empty(n, np.int64), 0
    to, near = np.zeros(n), np.empty(n, np.int64)
    loss, since, moved = np.zeros(n), np.zeros(n), 0.0
    unmoved, at = 0, 0
    while unmoved < n:
        v = order[at]
        at = at + 1 if at + 1 < n else 0
        unmoved += 1
        k, a = degree[v], community[v]
        if 4 * resolution * k * (moved - since[v]) / total < loss[v]:
            continue
        n_near = _add_weights(v, start, neighbour, weight, community, to, near, 0)
        stay = to[a] - resolution * k * strength[a] / total
        target, best, highest = _best_move(
            a, near[:n_near], to, strength, k, loop[v], stay, resolution, total
        )
        if members[a] > 1:
            gain = 2 * (loop[v] - resolution * k * k / total) - 2 * stay
            highest = max(highest, gain)
            if gain > best:
                target = empty[n_empty - 1]
                n_empty -= 1
        if target == a:
            loss[v], since[v] = -highest - ROUNDING, moved
            continue
        community[v] = target
        members[target] += 1
        strength[target] += k
        members[a] -= 1
        strength[a] -= k
        if members[a] == 0:
            empty[n_empty] = a
            n_empty += 1
        moved += k
        unmoved = 0
        loss[v] = 0
        for e in range(start[v], start[v + 1]):
            loss[neighbour[e]] = 0
    return community


@compiled(
    "Tuple((int64[::1], int64[::1], float64[::1]))(int64[::1], int64[::1], float64[::1], int64[::1], int64)"
)
def _merged(start, neighbour, weight, community, n):
    """The graph of communities: entries between two are summed, those inside one are its loop."""
    nodes = np.argsort(community, kind="mergesort")
    first = np.searchsorted(community[nodes], np.arange(n + 1))
    merged_start = np.zeros(n + 1, np.int64)
    merged, summed = np.empty(neighbour.size, np.int64), np.empty(neighbour.size)
    to, stored = np.zeros(n), 0
    for a in range(n):
        begin = stored
        for v in nodes[first[a] : first[a + 1]]:
            stored = _add_weights(v, start, neighbour, weight, community, to, merged, stored)
        for entry in range(begin, stored):
            summed[entry] = to[merged[entry]]
            to[merged[entry]] = 0
        merged_start[a + 1] = stored
    return merged_start, merged[:stored].copy(), summed[:stored].copy()
