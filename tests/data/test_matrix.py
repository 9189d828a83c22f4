"""Matrices that enter from outside: real numbers, a structure that can be trusted, and nothing else."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp

from scmobench.data.matrix import checked_matrix


def matrix(kind: str = "csr") -> sp.spmatrix:
    return sp.random(8, 5, 0.5, kind, np.float32, rng=np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "bsr", "dense", "csr_array"])
def test_a_sound_matrix_passes_as_it_is(kind: str) -> None:
    given = {"dense": matrix().toarray(), "csr_array": sp.csr_array(matrix())}.get(kind)
    given = matrix(kind) if given is None else given
    passed = checked_matrix(given, "X")
    assert (passed is given) == (kind in ("csr", "csc", "dense"))
    assert isinstance(passed, np.ndarray | sp.csr_matrix | sp.csc_matrix)
    assert (passed != matrix().toarray()).sum() == 0


@pytest.mark.parametrize(
    ("dtype", "held"),
    [
        *(("bool", "f4"), ("i1", "f4"), ("u2", "f4"), ("f2", "f4"), (">f4", "f4"), ("f4", "f4")),
        *(("i4", "f8"), ("u8", "f8"), (">i8", "f8"), (">f8", "f8"), ("g", "f8"), ("f8", "f8")),
    ],
)
def test_numbers_are_held_where_all_values_of_their_type_fit(dtype: str, held: str) -> None:
    numbers = np.array([[0, 1], [1, 0]]).astype(dtype)
    passed = checked_matrix(numbers, "X")
    assert passed.dtype == np.dtype(held)
    assert passed.dtype.isnative
    assert passed.tolist() == [[0, 1], [1, 0]]
    if dtype in ("bool", "i1", "u2", "i4", "u8", "g"):
        assert checked_matrix(sp.csr_matrix(numbers), "X").dtype == np.dtype(held)


def test_large_integers_do_not_overflow() -> None:
    assert checked_matrix(np.array([[2**62, 2**62, 2**62, 2**62, 1]]), "X").sum(axis=1) == 2.0**64


@pytest.mark.parametrize("dtype", ["c8", "c16", "O", "U3", "S3", "M8[s]", "m8[s]", [("a", "f4")]])
def test_other_values_are_refused(dtype: object) -> None:
    with pytest.raises(ValueError, match="expected real numbers in X of the prediction, found"):
        checked_matrix(np.zeros((2, 2), dtype), "X of the prediction")
    with pytest.raises(ValueError, match=r"found complex64: keep the real part, \.real"):
        checked_matrix(matrix().astype(np.complex64), "X")


@pytest.mark.parametrize("given", [None, [[1.0]], np.ma.ones((2, 2)), np.ones(3), np.ones((2, 2, 2))])
def test_what_is_no_matrix_is_refused(given: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^X"):
        checked_matrix(given, "X")


def altered(array: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[sp.spmatrix], None]:
    """Sets one of the arrays of a sparse matrix, past SciPy's own check."""
    return lambda m: setattr(m, array, change(getattr(m, array).copy()))


def at(place: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(numbers: np.ndarray) -> np.ndarray:
        numbers[place] = value
        return numbers

    return change


@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize(
    "damage",
    [
        altered("indices", at(3, 8)),
        altered("indices", at(3, -1)),
        altered("indices", at(0, 2**31 - 1)),
        altered("indices", lambda i: i[:-1]),
        altered("indices", lambda i: i.astype(np.float64)),
        altered("indices", lambda i: i.reshape(-1, 1)),
        altered("indptr", at(0, 1)),
        altered("indptr", at(2, 10**6)),
        altered("indptr", at(2, -5)),
        altered("indptr", at(-1, 5)),
        altered("indptr", lambda p: p[:-1]),
        altered("indptr", lambda p: np.append(p, p[-1])),
        altered("indptr", lambda p: p.astype(np.float32)),
        altered("data", lambda d: d[:-1]),
        altered("data", lambda d: np.append(d, 1)),
        altered("data", lambda d: d.reshape(-1, 1)),
    ],
)
def test_a_damaged_structure_is_found_before_it_is_used(kind: str, damage: Callable) -> None:
    given = matrix(kind)
    damage(given)
    with pytest.raises(ValueError, match="X is a damaged sparse matrix: "):
        checked_matrix(given, "X")


def test_two_values_at_one_place_are_refused_and_summed_as_the_message_says() -> None:
    for order in ([0, 1, 1], [1, 0, 1]):
        given, boasting = (sp.csr_matrix((np.ones(3, "f4"), order, [0, 3]), shape=(1, 2)) for _ in range(2))
        boasting.has_canonical_format = True  # what a matrix says of itself counts for nothing
        for one in (given, boasting):
            with pytest.raises(ValueError, match=r"found two for some: call sum_duplicates\(\) on it"):
                checked_matrix(one, "X")
        given.sum_duplicates()
        assert checked_matrix(given, "X").toarray().tolist() == [[1, 2]]


def test_the_order_within_rows_is_left() -> None:
    given = sp.csr_matrix((np.array([1, 2], np.float32), [1, 0], [0, 2]), shape=(1, 2))
    assert checked_matrix(given, "X") is given
    assert given.indices.tolist() == [1, 0]
