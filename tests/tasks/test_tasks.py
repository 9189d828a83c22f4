"""Tasks: what is cut off stays off, and a prediction that cannot be scored is refused with a reason."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scmobench.experiment.config import build, compose
from scmobench.tasks.base import normalized
from scmobench.tasks.predict_modality import PredictModality
from scmobench.types import Paired, Problem, part

TASKS = ("predict_modality", "match_modality", "joint_embedding")


def cut(name: str, paired: Paired, direction: str = "from_gex") -> tuple[object, Problem]:
    task = build(compose([f"task={name}"]).task)
    return task, task.split(paired, direction)


def truth(name: str, problem: Problem) -> AnnData:
    """A prediction that is right, in the task's layout."""
    task = build(compose([f"task={name}"]).task)
    answer = problem.solution.X if name != "joint_embedding" else problem.solution.X[:, :20]
    return task.pack(answer, problem.data, "truth")


def everything_in(data: object) -> list[np.ndarray]:
    """All numbers that a model can reach in what it is handed."""
    found = []
    for value in vars(data).values():
        if isinstance(value, AnnData):
            matrices = [value.X, *value.layers.values(), *value.obsm.values()]
            found += [m.toarray() if sp.issparse(m) else np.asarray(m) for m in matrices]
        elif isinstance(value, np.ndarray):
            found.append(value)
    return found


def test_prediction_targets_are_out_of_reach(tiny_paired: Paired) -> None:
    test = ~tiny_paired.obs["is_train"].to_numpy()
    _, problem = cut("predict_modality", tiny_paired)
    assert problem.solution.shape == (test.sum(), tiny_paired.mod2.n_vars)
    for matrix in everything_in(problem.data):
        assert matrix.shape != problem.solution.shape
    assert set(problem.data.labels.index) == set(tiny_paired.obs.index[~test])
    seen = problem.data.for_fit(transductive=False, label_supervised=False)
    assert seen.test_mod1 is None
    assert seen.labels is None


def test_changing_the_test_targets_changes_nothing_that_a_model_sees(tiny_paired: Paired) -> None:
    test = ~tiny_paired.obs["is_train"].to_numpy()
    changed = tiny_paired.mod2.copy()
    values = changed.X.toarray()
    values[test] = values[test][::-1] + 1
    changed.X = sp.csr_matrix(values)
    other = Paired(**{**vars(tiny_paired), "mod2": changed})
    _, one = cut("predict_modality", tiny_paired)
    _, two = cut("predict_modality", other)
    for a, b in zip(everything_in(one.data), everything_in(two.data), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.solution.X != two.solution.X).nnz


def test_matching_hides_the_pairing(tiny_paired: Paired) -> None:
    _, problem = cut("match_modality", tiny_paired)
    data, pairing = problem.data, problem.solution.uns["pairing_ix"]
    names = set(data.test_mod2.obs_names)
    assert not names & set(tiny_paired.obs.index)
    assert not (np.argsort(pairing) == np.arange(len(pairing))).all()
    # row k of the shuffled mod2 is the cell pairing[k]
    test = np.flatnonzero(~tiny_paired.obs["is_train"].to_numpy())
    counts = tiny_paired.mod2.X[test[pairing]]
    assert (data.test_mod2.layers["counts"] != counts).nnz == 0
    # and the training pairing undoes the training shuffle
    train = np.flatnonzero(tiny_paired.obs["is_train"].to_numpy())
    assert (data.train_mod2_paired.layers["counts"] != tiny_paired.mod2.X[train]).nnz == 0
    assert set(data.labels.index) == set(tiny_paired.obs.index[train])
    seen = data.for_fit(transductive=False, label_supervised=False)
    assert (seen.test_mod1, seen.test_mod2, seen.labels) == (None, None, None)
    for matrix in everything_in(data):
        assert matrix.shape != (len(test),) or not np.array_equal(matrix, pairing)


def test_batches_agree_between_matched_cells(tiny_paired: Paired) -> None:
    _, problem = cut("match_modality", tiny_paired)
    partner = np.argsort(problem.solution.uns["pairing_ix"])
    assert (
        problem.data.test_mod1.obs["batch"].to_numpy()
        == problem.data.test_mod2.obs["batch"].to_numpy()[partner]
    ).all()


def test_embedding_hides_labels_of_test_cells(tiny_paired: Paired) -> None:
    _, problem = cut("joint_embedding", tiny_paired)
    assert set(problem.data.mod1.obs) == {"batch", "is_train"}
    assert set(problem.data.labels.index) == set(tiny_paired.obs.index[tiny_paired.obs["is_train"]])
    assert problem.data.for_fit(True, False).labels is None
    assert problem.data.for_fit(False, False).mod1.n_obs == tiny_paired.obs["is_train"].sum()
    assert "cell_type" in problem.solution.obs


@pytest.mark.parametrize("name", TASKS)
def test_the_right_answer_passes(name: str, tiny_paired: Paired) -> None:
    task, problem = cut(name, tiny_paired)
    task.check(truth(name, problem), problem.solution)


@pytest.mark.parametrize("name", ["predict_modality", "joint_embedding"])
def test_other_cells_and_other_order_are_refused(name: str, tiny_paired: Paired) -> None:
    task, problem = cut(name, tiny_paired)
    prediction = truth(name, problem)
    with pytest.raises(ValueError, match="another order"):
        task.check(prediction[::-1].copy(), problem.solution)
    with pytest.raises(ValueError, match=r"rows|shape"):
        task.check(prediction[:-1].copy(), problem.solution)
    prediction.obs_names = ["stranger", *prediction.obs_names[1:]]
    with pytest.raises(ValueError, match=r"1 of .* names of the rows .* are not the solution's"):
        task.check(prediction, problem.solution)


def test_matching_weights_are_checked(tiny_paired: Paired) -> None:
    task, problem = cut("match_modality", tiny_paired)
    prediction = truth("match_modality", problem)
    prediction.X = prediction.X * 2
    with pytest.raises(ValueError, match="sum to 1"):
        task.check(prediction, problem.solution)
    prediction.X = -prediction.X
    with pytest.raises(ValueError, match=">= 0"):
        task.check(prediction, problem.solution)


def test_two_pairings_in_one_solution_are_refused_until_one_is_gone(tiny_paired: Paired) -> None:
    task, problem = cut("match_modality", tiny_paired)
    answer, solution = truth("match_modality", problem), problem.solution.copy()
    solution.uns["pairing_ix"] = np.argsort(solution.uns["pairing_ix"])
    with pytest.raises(ValueError, match=r"del solution.uns\['pairing_ix'\]"):
        task.check(answer, solution)
    del solution.uns["pairing_ix"]
    task.check(answer, solution)


def test_wrong_shapes_are_refused_when_packed(tiny_paired: Paired) -> None:
    for name in TASKS:
        task, problem = cut(name, tiny_paired)
        with pytest.raises(ValueError, match="expected"):
            task.pack(np.ones((3, 2)), problem.data, "short")


def test_unknown_direction(tiny_paired: Paired) -> None:
    for unknown in ("sideways", "GEX2ATAC"):  # these cells have proteins
        with pytest.raises(ValueError, match="one of from_gex, to_gex, GEX2ADT, ADT2GEX, found"):
            cut("predict_modality", tiny_paired, unknown)
    assert cut("predict_modality", tiny_paired, "ADT2GEX")[1].data.subtask == "ADT2GEX"
    assert cut("joint_embedding", tiny_paired, "GEX2ADT")[1].data.subtask == "GEX-ADT"
    assert cut("predict_modality", tiny_paired, "to_gex")[1].data.subtask == "ADT2GEX"


def test_competition_files_keep_their_peaks(tiny_multiome: Paired) -> None:
    """They come cut to 10,000: what no training cell has open is scored too."""
    closed = tiny_multiome.mod2.copy()
    X = closed.X.tolil()
    X[np.flatnonzero(tiny_multiome.obs["is_train"]), 0] = 0
    closed.X = X.tocsr()
    paired = replace(tiny_multiome, mod2=closed)
    assert PredictModality().split(paired).solution.n_vars == closed.n_vars - 1
    assert PredictModality().split(replace(paired, protocol="p")).solution.n_vars == closed.n_vars


def test_peaks_of_the_target_are_drawn_from_open_ones(tiny_multiome: Paired) -> None:
    problem = PredictModality(n_target_peaks=30).split(tiny_multiome)
    assert problem.solution.n_vars == 30
    assert (problem.data.train_mod2.X.sum(axis=0) > 0).all()
    again = PredictModality(n_target_peaks=30).split(tiny_multiome)
    assert (again.solution.var_names == problem.solution.var_names).all()


def test_library_size_is_fitted_on_training_cells(tiny_paired: Paired) -> None:
    test = ~tiny_paired.obs["is_train"].to_numpy()
    deeper = tiny_paired.mod1.copy()
    scale = np.where(test, 10, 1)
    deeper.X = sp.csr_matrix(deeper.X.multiply(scale[:, None]))
    _, one = cut("predict_modality", tiny_paired)
    _, two = cut("predict_modality", Paired(**{**vars(tiny_paired), "mod1": deeper}))
    np.testing.assert_array_equal(one.data.train_mod1.X.toarray(), two.data.train_mod1.X.toarray())


def test_a_part_is_a_copy_that_leaves_nothing_behind(tiny_paired: Paired) -> None:
    cells, features = np.flatnonzero(tiny_paired.obs["batch"] == "batch2")[::-1], np.arange(0, 20, 3)
    whole = normalized(tiny_paired)[1]
    for chosen in ({"cells": cells}, {"features": features}, {"cells": cells, "features": features}):
        taken = part(whole, **chosen)
        expected = whole[chosen.get("cells", slice(None)), chosen.get("features", slice(None))].copy()
        for one, other in ((taken.X, expected.X), (taken.layers["counts"], expected.layers["counts"])):
            assert all((getattr(one, n) == getattr(other, n)).all() for n in ("data", "indices", "indptr"))
            assert not np.shares_memory(one.data, whole.X.data)
        assert taken.obs.equals(expected.obs)
        assert taken.var.equals(expected.var)
        assert list(taken.obs["batch"].cat.categories) == list(expected.obs["batch"].cat.categories)
    whole = AnnData(sp.csr_matrix(np.eye(4, dtype=np.float32)))
    gone = weakref.ref(whole)
    gc.disable()  # a view would hold the whole until cycles are looked for
    try:
        part(whole, np.array([1, 2]))
        del whole
        assert gone() is None
    finally:
        gc.enable()
