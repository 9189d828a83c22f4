"""Shared nearest neighbours against a loop over pairs, and refused inputs."""

import numpy as np
import pytest

from scmobench.models.matching import pruned
from scmobench.models.matching.shared_neighbours import shared_neighbours


def by_loops(first, second, batch1, batch2, k):
    """Neighbourhoods as sets; Jaccard index of each pair; rows scaled."""
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second)]
    groups = (np.asarray(batch1), np.asarray(batch2))

    def neighbourhood(side, cell):
        members = set()
        for other in (0, 1):
            inside = np.flatnonzero(groups[other] == groups[side][cell])
            order = inside[np.argsort(-(unit[other][inside] @ unit[side][cell]))]
            members |= {(other, int(c)) for c in order[:k]}
        return members

    result = np.zeros((len(first), len(second)))
    for i in range(len(first)):
        for j in range(len(second)):
            if groups[0][i] == groups[1][j]:
                a, b = neighbourhood(0, i), neighbourhood(1, j)
                result[i, j] = len(a & b) / len(a | b)
    return result / result.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 3])
def test_same_as_a_loop_over_pairs(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(k)
    first, second = rng.standard_normal((2, 23, 4))
    batch1 = np.array(list("ab"))[np.arange(23) % 2]
    batch2 = rng.permutation(batch1)
    expected = by_loops(first, second, batch1, batch2, k)
    found = shared_neighbours(first, second, batch1, batch2, k=k)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)
    monkeypatch.setattr(pruned, "CHUNK", 5)
    chunked = shared_neighbours(first, second, batch1, batch2, k=k)
    np.testing.assert_allclose(chunked.toarray(), expected, atol=1e-6)


def test_mutual_neighbours_weigh_three_times_as_much() -> None:
    """Cells at angles: 0 and 0 are each other's nearest; 1 and 2 of the first both want 1 of the second."""

    def at(*degrees):
        angles = np.radians(degrees)
        return np.column_stack([np.cos(angles), np.sin(angles)])

    found = shared_neighbours(at(0, 40, 60), at(2, 58, 120), list("aaa"), list("aaa")).toarray()
    # second cell 1 (58) prefers first cell 2 (60); second cell 2 (120) prefers it too
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 1, 0], [0, 0.75, 0.25]], atol=1e-6)


def test_identical_cells_are_their_own_neighbours_and_lengths_do_not_count() -> None:
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((12, 3))
    np.testing.assert_array_equal(
        shared_neighbours(cells, cells * 7, ["a"] * 12, ["a"] * 12).toarray(), np.eye(12)
    )
    # all of a kind: each takes one and the same cell of the other side, and is no neighbour of its twins
    same = shared_neighbours(np.ones((5, 2)), np.ones((5, 2)), ["a"] * 5, ["a"] * 5)
    assert same.nnz == 9
    np.testing.assert_allclose(same.sum(axis=1), 1, rtol=1e-6)


def test_only_the_largest_weights_are_kept(monkeypatch) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 30, 3))
    batches = ["a"] * 30, ["a"] * 30
    whole = shared_neighbours(first, second, *batches, k=8).toarray()
    monkeypatch.setattr("scmobench.models.matching.shared_neighbours.PARTNERS", 4)
    few = shared_neighbours(first, second, *batches, k=8).toarray()
    assert (few > 0).sum(axis=1).max() == 4
    for row, kept in zip(whole, few, strict=True):
        assert row[kept > 0].min() >= row[kept == 0].max()
    np.testing.assert_allclose(few.sum(axis=1), 1, rtol=1e-6)


def test_more_neighbours_than_cells() -> None:
    cells = np.random.default_rng(2).standard_normal((6, 2))
    found = shared_neighbours(cells, cells, list("aaaabb"), list("aaaabb"), k=50).toarray()
    assert found[0].sum() == pytest.approx(1)
    np.testing.assert_array_equal(found[4:, :4], 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": np.ones((4, 5))}, "n x d and n x d"),
        ({"batch2": list("aaa")}, "cells"),
        ({"first": np.full((4, 2), np.nan)}, "finite"),
        ({"batch2": list("aaab")}, "as many mod1 as mod2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refusals(change: dict, message: str) -> None:
    settings = {
        "first": np.ones((4, 2)),
        "second": np.ones((4, 2)),
        "batch1": list("aaaa"),
        "batch2": list("aaaa"),
    }
    with pytest.raises(ValueError, match=message):
        shared_neighbours(**{**settings, **change})
