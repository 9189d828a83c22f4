"""Louvain clusters: the competition's partitions, as kept hashes and beside the package where it is."""

import hashlib
import itertools
import json

import numpy as np
import pytest
import scipy.sparse as sp

from scmobench.metrics.connectivity import connectivities
from scmobench.metrics.distances import nearest_cells
from scmobench.metrics.louvain import _draws, partitions

RESOLUTIONS = (0.1, 0.5, 1.0, 2.0)


def symmetric(pattern: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix((pattern | pattern.T).astype(float))


def random_graph(rng: np.random.Generator) -> sp.csr_matrix:
    """Blocks, lattices, trees, cliques or noise: many moves of the same gain, loops, cells without edges."""
    n, kind = int(rng.integers(1, 100)), rng.integers(5)
    block = rng.integers(max(1, n // 10), size=n)
    pattern = rng.random((n, n)) < np.where(block[:, None] == block, 0.5, 0.03)
    if kind == 1:
        pattern = (np.arange(n) - np.arange(n)[:, None]) % n <= rng.integers(1, 4)
    elif kind == 2:
        pattern = np.eye(n, dtype=bool)[[rng.integers(max(i, 1)) for i in range(n)]]
    elif kind == 3:
        pattern = np.arange(n) // 5 == (np.arange(n) // 5)[:, None]
    elif kind == 4:
        pattern = rng.random((n, n)) < rng.uniform(0, 0.3)
    if rng.integers(2):
        pattern &= ~np.eye(n, dtype=bool)
    order = rng.permutation(n)
    return symmetric(pattern[order][:, order])


def embedded(n: int) -> sp.csr_matrix:
    """The graph of 15 neighbours of cells of six overlapping types."""
    rng = np.random.default_rng(0)
    return connectivities(*nearest_cells(rng.normal(size=(n, 8)) + rng.integers(6, size=n)[:, None], 15))


def test_partitions_are_those_kept_of_the_package(golden_dir):
    kept = json.loads((golden_dir / "louvain" / "reference_partitions.json").read_text())
    rng = np.random.RandomState(0)
    ends = rng.randint(400, size=(2400, 2))
    ends = ends[(ends[:, 0] // 20 == ends[:, 1] // 20) | (rng.randint(4, size=2400) == 0)]
    ends = ends[ends[:, 0] != ends[:, 1]]
    pattern = np.zeros((400, 400), bool)
    pattern[tuple(ends.T)] = True
    graph = symmetric(pattern)
    assert graph.nnz == kept["edges"]
    found = {
        f"seed {seed} resolution {resolution}": {
            "clusters": int(membership.max()) + 1,
            "sha256": hashlib.sha256(membership.astype("<i8").tobytes()).hexdigest(),
        }
        for seed in (0, 1, 42)
        for resolution, membership in zip(RESOLUTIONS, partitions(graph, RESOLUTIONS, seed), strict=True)
    }
    assert found == kept["partitions"]


@pytest.mark.filterwarnings("ignore:pkg_resources")
def test_partitions_are_the_packages():
    louvain = pytest.importorskip("louvain")
    igraph = pytest.importorskip("igraph")
    rng = np.random.default_rng(0)
    for graph in [embedded(600), *(random_graph(rng) for _ in range(80))]:
        directed = igraph.Graph(
            graph.shape[0], list(zip(*map(np.ndarray.tolist, graph.nonzero()), strict=True)), True
        )
        seed = int(rng.choice([0, 1, 2**31 - 1, rng.integers(2**31)]))
        resolutions = (0.0, *RESOLUTIONS)
        for resolution, membership in zip(resolutions, partitions(graph, resolutions, seed), strict=True):
            theirs = louvain.find_partition(
                directed, louvain.RBConfigurationVertexPartition, seed=seed, resolution_parameter=resolution
            )
            assert membership.tolist() == theirs.membership


def quality(graph: sp.csr_matrix, membership: np.ndarray, resolution: float) -> float:
    """sum_c (e_c - gamma K_c^2 / m) by its definition."""
    entries = graph.tocoo()
    inside = (membership[entries.row] == membership[entries.col]).sum()
    strength = np.bincount(membership, np.diff(graph.indptr))
    return inside - resolution * (strength**2).sum() / graph.nnz


def test_small_graphs_come_near_the_best_of_all_partitions():
    rng, shares = np.random.default_rng(1), []
    partitions_of_six = [np.array(labels) for labels in itertools.product(range(3), repeat=6)]
    for _ in range(5):
        graph = symmetric(np.triu(rng.random((6, 6)) < 0.4, 1) | np.eye(6, k=1, dtype=bool))
        best = max(quality(graph, labels, 0.8) for labels in partitions_of_six)
        shares.append(quality(graph, next(partitions(graph, [0.8])), 0.8) / best)
    assert np.mean(shares) > 0.9


def test_planted_cliques_are_found():
    block = np.repeat(np.arange(8), 6)
    pattern = (block[:, None] == block) | np.eye(48, k=1, dtype=bool)  # a chain of eight
    order = np.random.default_rng(0).permutation(48)
    membership = next(partitions(symmetric(pattern[order][:, order]), [1.0]))
    assert len(set(zip(block[order], membership, strict=True))) == len(set(membership)) == 8


def test_clusters_are_numbered_from_the_largest():
    sizes = np.bincount(next(partitions(embedded(500), [1.5])))
    assert sizes.tolist() == sorted(sizes, reverse=True)


def test_weights_do_not_count_and_stored_zeros_are_no_edges():
    graph = embedded(300)
    plain = next(partitions(graph, [1.0]))
    weighted = graph.copy()
    weighted.data = np.arange(1.0, graph.nnz + 1)
    assert np.array_equal(next(partitions(weighted, [1.0])), plain)
    far = sp.csr_matrix(([1e-300], ([0], [299])), shape=graph.shape)
    zeros = graph + far + far.T
    zeros.data[zeros.data == 1e-300] = 0
    assert zeros.nnz == graph.nnz + 2
    assert np.array_equal(next(partitions(zeros, [1.0])), plain)


def test_cells_without_edges_are_clusters_of_their_own():
    assert next(partitions(sp.csr_matrix((3, 3)), [1.0])).tolist() == [0, 1, 2]
    assert next(partitions(sp.csr_matrix((0, 0)), [1.0])).tolist() == []


def test_rejected_words_are_drawn_again_at_their_place():
    class Words:
        """Hands out the words of a list."""

        def __init__(self, words):
            self.words = words

        def randint(self, low, high, size, dtype):
            return np.array([self.words.pop(0) for _ in range(size)], dtype)

    # below 3 the one word 0 is rejected, below 2 none: (2^32 - r) mod r is 1 and 0
    source = Words([0, 0, 2**31, 2**31 - 1, 7])
    assert _draws(3, source).tolist() == [1, 0]
    assert source.words == [7]
