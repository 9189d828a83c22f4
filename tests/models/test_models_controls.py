"""Controls: the answer of each, and that the positive ones are perfect."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scmobench.models import controls
from scmobench.tasks.joint_embedding import JointEmbedding
from scmobench.tasks.match_modality import MatchModality
from scmobench.tasks.predict_modality import PredictModality
from scmobench.types import Paired


def test_mean_and_zeros_predict_one_profile(tiny_paired: Paired) -> None:
    data = PredictModality().split(tiny_paired).data
    expected = data.train_mod2.X.toarray().mean(axis=0)
    mean = controls.MeanPrediction().fit(data.for_fit(False, False), 0).predict(data)
    np.testing.assert_allclose(mean, np.tile(expected, (data.test_mod1.n_obs, 1)), rtol=1e-5)
    zeros = controls.ZeroPrediction().fit(data.for_fit(False, False), 0).predict(data)
    assert zeros.shape == mean.shape
    assert not zeros.any()


def test_random_prediction_draws_whole_training_profiles(tiny_paired: Paired) -> None:
    data = PredictModality().split(tiny_paired).data
    found = controls.RandomPrediction().fit(data.for_fit(False, False), 0).predict(data)
    profiles = {row.tobytes() for row in data.train_mod2.X.toarray()}
    assert all(row.tobytes() in profiles for row in found)
    assert len({row.tobytes() for row in found}) > 10


def test_random_matching_is_a_permutation_within_batches(tiny_paired: Paired) -> None:
    data = MatchModality().split(tiny_paired).data
    n = data.test_mod1.n_obs
    batch1 = np.array(["a", "b"])[np.arange(n) % 2]
    batch2 = np.sort(batch1)
    data.test_mod1.obs["batch"], data.test_mod2.obs["batch"] = batch1, batch2
    one = controls.RandomMatching().fit(data, 0).predict(data)
    other = controls.RandomMatching().fit(data, 1).predict(data)
    assert (one.sum(axis=0) == 1).all()
    assert (batch2[one.indices] == batch1).all()
    assert (one != other).nnz > n


def test_solution_is_the_solution(tiny_paired: Paired) -> None:
    prediction = PredictModality().split(tiny_paired)
    found = controls.SolutionPrediction().answer(prediction.solution, 0)
    np.testing.assert_array_equal(found, prediction.solution.X.toarray())
    matching = MatchModality().split(tiny_paired)
    found = controls.SolutionMatching().answer(matching.solution, 0)
    assert (found != matching.solution.X).nnz == 0
    found.data[:] = 0
    assert matching.solution.X.sum() == matching.solution.n_obs


def test_one_hot_embeddings(tiny_paired: Paired) -> None:
    problem = JointEmbedding().split(tiny_paired)
    batch = controls.BatchEmbedding().fit(problem.data, 0).predict(problem.data)
    types = controls.CellTypeEmbedding().answer(problem.solution, 0)
    for column, found in (("batch", batch), ("cell_type", types)):
        labels = problem.solution.obs[column].astype(str).to_numpy()
        assert found.shape[1] == len(set(labels))
        same = (found[:, None] == found[None]).all(axis=2)
        assert (same == (labels[:, None] == labels[None])).all()


def test_solution_embedding_orders_cells_by_reference_pseudotime() -> None:
    obs = pd.DataFrame({"cell_type": ["a", "a", "b", "b"], "pseudotime_order_GEX": [2.0, 4.0, np.nan, 3.0]})
    solution = AnnData(sp.csr_matrix((4, 3), dtype=np.float32), obs=obs.set_axis(list("wxyz")))
    found = controls.SolutionEmbedding().answer(solution, 0)
    np.testing.assert_allclose(found, [[1, 0, 0], [1, 0, 1], [0, 1, 0.5], [0, 1, 0.5]])


def test_missing_labels_and_too_many_types_are_named() -> None:
    bare = AnnData(sp.csr_matrix((3, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="cell_type"):
        controls.CellTypeEmbedding().answer(bare, 0)
    crowded = AnnData(sp.csr_matrix((101, 2), dtype=np.float32))
    crowded.obs["cell_type"] = [f"type{i}" for i in range(101)]
    with pytest.raises(ValueError, match="101"):
        controls.CellTypeEmbedding().answer(crowded, 0)
