"""Files handed to the scorer: what a solution and a prediction must hold, and where an embedding may lie."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scmobench as sb
from scmobench.cli import main
from scmobench.data.pairing import pairing
from scmobench.tasks.joint_embedding import JointEmbedding
from scmobench.tasks.match_modality import MatchModality
from scmobench.tasks.predict_modality import PredictModality
from scmobench.types import TASKS

TASK = {task.name: task for task in (PredictModality(), MatchModality(), JointEmbedding())}

N, GENES = 60, 30


def files(task: str) -> tuple[AnnData, AnnData]:
    """A prediction with some error, and its solution."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"batch": ["a", "b"] * (N // 2), "cell_type": [f"T{i % 3}" for i in range(N)]},
        index=[f"cell{i}" for i in range(N)],
    )
    if task == "match_modality":
        ix = rng.permutation(N)
        guess = ix.copy()
        guess[:10] = np.roll(ix[:10], 1)
        right, answer = (
            sp.csr_matrix((np.ones(N, np.float32), (i, np.arange(N))), shape=(N, N)) for i in (ix, guess)
        )
        return AnnData(answer, obs=obs[[]]), AnnData(right, obs=obs, uns={"pairing_ix": ix})
    genes = pd.DataFrame(index=[f"gene{i}" for i in range(GENES)])
    truth = AnnData(rng.poisson(2, (N, GENES)).astype(np.float32), obs=obs, var=genes)
    if task == "predict_modality":
        return AnnData(truth.X + rng.integers(2, size=truth.shape), obs=obs[[]], var=genes), truth
    return AnnData(rng.integers(9, size=(N, 5)).astype(np.float32), obs=obs[[]]), truth


def scored(task: str, prediction: AnnData, solution: AnnData) -> list[np.ndarray]:
    """The numbers that metrics get: X of the prediction and of the solution, and the pairing."""
    both = TASK[task].check(prediction, solution)
    assert all(table.X.dtype in (np.float32, np.float64) for table in both)
    numbers = [table.X.toarray() if sp.issparse(table.X) else table.X for table in both]
    return [*numbers, pairing(both[1])] if task == "match_modality" else numbers


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def with_x(table: AnnData, X: object) -> AnnData:
    return AnnData(X, obs=table.obs, var=table.var, uns=table.uns)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i8", "f2", ">f4", ">f8", ">i4", "f8", "g"])
def test_every_real_dtype_is_scored_as_the_numbers_it_holds(task, dtype) -> None:
    both = list(files(task))
    for which, form in product((0, 1), (np.asarray, sp.csr_matrix, sp.csc_matrix)):
        given = list(both)
        dense = both[which].X.toarray() if sp.issparse(both[which].X) else both[which].X
        dense = (dense > 0).astype(np.float32) if dtype == "?" else dense
        given[which] = with_x(both[which], dense)
        expected = scored(task, *given)
        if form is np.asarray or dtype not in ("f2", ">f4", ">f8", ">i4"):  # sparse there are none
            given[which] = with_x(both[which], form(dense.astype(dtype)))
            assert same(scored(task, *given), expected)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("which", ["prediction", "solution"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X * np.nan, "expected finite values in X of the {}, found [0-9]+ NaN or infinite ones"),
        (lambda X: X * np.inf, "expected finite values in X of the {}, found [0-9]+ NaN or infinite ones"),
        (lambda X: X * np.complex64(1j), "expected real numbers in X of the {}, found complex"),
        (lambda X: X * np.float64(1e200), r"expected values up to 1e\+15 in X of the {}"),
        (lambda X: None, "X is missing: expected the {}'s values"),
    ],
)
def test_a_file_of_other_values_is_refused_by_its_name(task, which, change, message) -> None:
    prediction, solution = files(task)
    both = {"prediction": prediction, "solution": solution}
    both[which] = with_x(both[which], change(both[which].X))
    with pytest.raises(ValueError, match=message.format(which)):
        scored(task, **both)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", ">i8", "u8"])
def test_a_pairing_is_of_whole_numbers_of_any_real_dtype(dtype) -> None:
    """The competition's files hold it as floats."""
    prediction, solution = files("match_modality")
    expected = scored("match_modality", prediction, solution)
    ix = solution.uns["pairing_ix"]
    for shape in ((N,), (N, 1), (1, N)):
        solution.uns["pairing_ix"] = ix.astype(dtype).reshape(shape)
        assert same(scored("match_modality", prediction, solution), expected)
    del solution.uns["pairing_ix"]
    assert same(scored("match_modality", prediction, solution), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda ix: ix + 0.5,
        lambda ix: np.where(ix == 3, 3.2, ix),
        lambda ix: np.where(ix == 3, np.nan, ix),
        lambda ix: ix + 1,
        lambda ix: np.where(ix == 3, 4, ix),
        lambda ix: ix[:-1],
        lambda ix: ix + 0j,
        lambda ix: ix.astype(str),
        lambda ix: {"a": 1},
        lambda ix: ix.reshape(2, -1),
        lambda ix: "0",
    ],
)
def test_another_pairing_is_refused(change) -> None:
    prediction, solution = files("match_modality")
    solution.uns["pairing_ix"] = change(solution.uns["pairing_ix"])
    with pytest.raises(ValueError, match="pairing_ix of the solution to be a permutation of the whole"):
        scored("match_modality", prediction, solution)


@pytest.mark.parametrize(
    "X", [np.ones((N, N)), np.eye(N) / 2, np.zeros((N, N)), np.eye(N)[[0, *range(N - 1)]]]
)
def test_a_matrix_is_a_pairing_only_with_one_1_in_every_row_and_column(X) -> None:
    prediction, solution = files("match_modality")
    solution = with_x(solution, X)
    del solution.uns["pairing_ix"]
    with pytest.raises(ValueError, match="pairing_ix of the solution"):
        scored("match_modality", prediction, solution)


def test_row_sums_do_not_overflow() -> None:
    """2^62 three times and 2^62 + 1 sum to 1 in 64 bits."""
    prediction, solution = files("match_modality")
    X = np.zeros((N, N), np.int64)
    X[:, :4] = 2**62
    X[:, 0] += 1
    assert X.sum(axis=1)[0] == 1
    with pytest.raises(ValueError, match="expected values up to"):
        scored("match_modality", with_x(prediction, X), solution)


def test_rows_of_half_precision_sum_to_1_as_the_message_says() -> None:
    _, solution = files("match_modality")
    X = np.random.default_rng(0).random((N, N)).astype(np.float16)
    X /= X.sum(axis=1, keepdims=True)
    with pytest.raises(ValueError, match="divide each row by its sum, in float32 or float64"):
        scored("match_modality", with_x(solution, X), solution)
    X = X.astype(np.float32)
    assert scored("match_modality", with_x(solution, X / X.sum(axis=1, keepdims=True)), solution)


def test_a_solution_of_matching_is_square() -> None:
    prediction, solution = files("match_modality")
    with pytest.raises(ValueError, match="expected a solution of 60 x 60 test cells, found"):
        scored("match_modality", prediction, solution[:, 1:].copy())


def in_obsm(X: object, embedding: np.ndarray, like: AnnData, var: pd.DataFrame | None = None) -> AnnData:
    return AnnData(X, obs=like.obs[[]], var=var, obsm={"X_emb": embedding})


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, lambda X: pd.DataFrame(X).add_prefix("dim")])
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("none", "is empty"),
        ("empty", "is empty"),
        ("wide", "has 101 columns"),
        ("genes", "is the expression"),
    ],
)
def test_an_embedding_is_taken_from_obsm(case, told, form, capsys) -> None:
    right, solution = files("joint_embedding")
    expected = scored("joint_embedding", right, solution)
    X = {"none": None, "empty": np.ones((N, 0)), "wide": np.ones((N, 101)), "genes": solution.X}[case]
    embedding = form(right.X)
    if isinstance(embedding, pd.DataFrame):
        embedding.index = right.obs_names
    assert same(scored("joint_embedding", in_obsm(X, embedding, right), solution), expected)
    assert f'obsm["X_emb"] of the prediction is scored (5 dimensions): X {told}' in capsys.readouterr().err


def test_x_is_scored_where_it_may_be_the_embedding_and_a_line_says_so(tmp_path, capsys) -> None:
    right, solution = files("joint_embedding")
    expected = scored("joint_embedding", right, solution)
    assert same(scored("joint_embedding", in_obsm(right.X, right.X.copy(), right), solution), expected)
    assert capsys.readouterr().err == ""
    other = in_obsm(right.X, right.X[:, ::-1], right)
    assert same(scored("joint_embedding", other, solution), expected)
    assert "X is scored (5 dimensions), obsm" in capsys.readouterr().err
    proteins = pd.DataFrame({"feature_types": ["ADT"] * GENES})
    columns = in_obsm(np.ones((N, GENES)), right.X, right, proteins)
    assert same(scored("joint_embedding", columns, solution), expected)
    assert 'X holds features, as its var["feature_types"] says' in capsys.readouterr().err
    places = [tmp_path / f"{name}.h5ad" for name in ("prediction", "solution")]
    for cells, place in zip((columns, solution), places, strict=True):
        cells.write_h5ad(place)
    ways = product((columns, places[0], str(places[0])), (solution, places[1]))
    first, *others = (sb.score(*way, task="joint_embedding") for way in ways)
    assert all(first.equals(other) for other in others)
    named = in_obsm(np.ones((N, GENES)), right.X, right, solution.var[[]])
    assert same(scored("joint_embedding", named, solution), expected)  # expression that was scaled
    with pytest.raises(ValueError, match=r'save the embedding as X, or beside X as obsm\["X_emb"\]'):
        scored("joint_embedding", AnnData(np.ones((N, 101)), obs=right.obs), solution)
    with pytest.raises(ValueError, match="expected real numbers in X of the prediction"):
        scored("joint_embedding", in_obsm(None, right.X.astype(complex), right), solution)


def test_score_and_compare_take_half_precision(tmp_path, capsys) -> None:
    prediction, solution = files("predict_modality")
    solution.write_h5ad(tmp_path / "solution.h5ad")
    prediction.write_h5ad(tmp_path / "float32.h5ad")
    with_x(prediction, prediction.X.astype(np.float16)).write_h5ad(tmp_path / "float16.h5ad")
    where = [f"--solution={tmp_path / 'solution.h5ad'}", "--task=predict_modality"]
    told = []
    for name in ("float32", "float16"):
        main(["score", "--json", f"--prediction={tmp_path / name}.h5ad", *where])
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
    both = [str(tmp_path / f"{name}.h5ad") for name in ("float32", "float16")]
    main(["compare", "--json", "--predictions", *both, *where])
    equal = {"metric": "rmse", "difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0, "n": N}
    assert json.loads(capsys.readouterr().out).items() >= equal.items()


def test_a_solution_of_another_task_is_refused(tmp_path, tiny_paired) -> None:
    solutions = {name: task.split(tiny_paired).solution for name, task in TASK.items()}
    for (task, _), (other, solution) in product(solutions.items(), solutions.items()):
        if task != other:
            told = f"expected the solution of {task}, found that of {other}: name its own task"
            with pytest.raises(ValueError, match=told):
                sb.score(solution, solution, task)
    solution.obs = solution.obs[["batch"]]
    assert np.isnan(sb.score(solution[:, :9].copy(), solution, "joint_embedding")["nmi"])  # it says its task
    solution.write_h5ad(tmp_path / "solution.h5ad")
    place = str(tmp_path / "solution.h5ad")
    with pytest.raises(SystemExit, match="expected the solution of predict_modality"):
        main(["score", "--task=predict_modality", f"--prediction={place}", f"--solution={place}"])
    del solution.uns["subtask"]
    with pytest.raises(ValueError, match=r"expected labels of cells in obs .*\(cell_type, .*found none"):
        sb.score(solution[:, :9].copy(), solution, "joint_embedding")
