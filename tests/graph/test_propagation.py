"""Parameter-free propagation against a loop over nodes, and its symmetries."""

import numpy as np
import pytest

from scmobench.graph import propagation
from scmobench.graph.propagation import propagate, standardised

GRAPH = np.array([[1.0, 0.0, 2.0, -0.5], [0.0, 3.0, 0.0, 1.0], [0.5, -1.0, 0.0, 0.0]])


def _z(states: list[np.ndarray]) -> list[np.ndarray]:
    values = np.concatenate(states)
    if values.std() == 0:
        return states
    return [(state - values.mean()) / values.std() for state in states]


def by_nodes(matrix: np.ndarray, layers: int) -> list[np.ndarray]:
    """The definition, one node and one neighbour at a time."""
    n, k = matrix.shape
    features = [np.eye(k)[j] for j in range(k)]
    cells = [np.zeros(k) for _ in range(n)]
    kept = []
    for layer in range(1, layers + 1):
        to_cells = [sum((matrix[i, j] * features[j] for j in range(k)), np.zeros(k)) for i in range(n)]
        to_features = [sum((matrix[i, j] * cells[i] for i in range(n)), np.zeros(k)) for j in range(k)]
        cells = _z([0.5 * h + 0.5 * p for h, p in zip(cells, _z(to_cells), strict=True)])
        features = _z([0.5 * h + 0.5 * p for h, p in zip(features, _z(to_features), strict=True)])
        if layer >= 2:
            kept.append(np.array(cells))
    return kept


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_hand_made_graph(layers):
    states = propagate(GRAPH, layers)
    assert states.shape == (layers - 1, 3, 4)
    assert states.dtype == np.float32
    np.testing.assert_allclose(states, by_nodes(GRAPH, layers), atol=2e-6)


def test_second_layer_written_out():
    """Layer 1: h_U = z(M) and h_V = z(I); layer 2: h_U = z(½ z(M) + ½ z(M z(I)))."""

    def z(x):
        return (x - x.mean()) / x.std()

    expected = z(0.5 * z(0.5 * z(GRAPH)) + 0.5 * z(GRAPH @ z(0.5 * np.eye(4))))
    np.testing.assert_allclose(propagate(GRAPH, 2)[0], expected, atol=2e-6)


def test_permutation_of_cells_and_features():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 7)).astype(np.float32)
    states = propagate(matrix, 4)
    cells, features = rng.permutation(50), rng.permutation(7)
    np.testing.assert_allclose(propagate(matrix[cells], 4), states[:, cells], atol=1e-5)
    permuted = propagate(matrix[:, features], 4)
    np.testing.assert_allclose(permuted, states[:, :, features], atol=1e-5)


def test_the_input_itself_is_the_first_layer():
    matrix = np.random.default_rng(3).normal(size=(40, 6))
    states = propagate(matrix, 3, first=1)
    np.testing.assert_allclose(states[0], standardised(matrix), atol=1e-5)
    np.testing.assert_array_equal(states[1:], propagate(matrix, 3))


def test_chunks_change_nothing(monkeypatch):
    matrix = np.random.default_rng(1).normal(size=(101, 9)) * (
        np.random.default_rng(2).random((101, 9)) < 0.4
    )
    whole = propagate(matrix, 3)
    monkeypatch.setattr(propagation, "CHUNK", 17)
    np.testing.assert_allclose(propagate(matrix, 3), whole, atol=1e-5)


def test_input_is_left_alone_and_bytes_repeat():
    matrix = np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32)
    before = matrix.copy()
    assert propagate(matrix, 3).tobytes() == propagate(matrix, 3).tobytes()
    np.testing.assert_array_equal(matrix, before)


def test_every_layer_is_standardised():
    states = propagate(np.random.default_rng(4).gamma(2.0, size=(300, 20)) * 100, 4)
    np.testing.assert_allclose(states.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(states.std(axis=(1, 2)), 1, atol=1e-5)


def test_cells_added_to_the_graph_change_the_others():
    """Transductive and inductive graphs differ: all cells share the features' states."""
    rng = np.random.default_rng(5)
    train, test = rng.normal(size=(60, 8)), 3 * rng.normal(size=(40, 8))
    joint = propagate(np.vstack([train, test]), 3)[:, :60]
    assert np.abs(joint - propagate(train, 3)).max() > 1e-2


def test_standardised():
    matrix = np.random.default_rng(6).gamma(2.0, size=(50, 3))
    np.testing.assert_allclose(standardised(matrix), (matrix - matrix.mean()) / matrix.std(), atol=1e-5)
    np.testing.assert_array_equal(standardised(np.ones((4, 2))), np.ones((4, 2)))


@pytest.mark.parametrize(
    ("matrix", "layers", "message"),
    [
        (GRAPH, 1, "at least 2; found 1"),
        (np.full((3, 2), np.nan), 2, "finite"),
        (np.zeros((0, 2)), 2, "non-empty"),
    ],
)
def test_refusals(matrix, layers, message):
    with pytest.raises(ValueError, match=message):
        propagate(matrix, layers)
