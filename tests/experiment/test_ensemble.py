"""Ensembles: members are ordinary runs, put together in the way of the task."""

from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scmobench.experiment import kept
from scmobench.experiment.config import compose
from scmobench.experiment.ensemble import combine, members, run_ensemble
from scmobench.experiment.plan import Plan
from scmobench.experiment.run import SIMILARITY
from scmobench.experiment.validate import validate
from scmobench.experiment.weights import convex_weights, member_weights
from scmobench.models.matching.assignment import assign_softmax
from scmobench.types import EmbeddingData, MatchingData, PredictionData


def cells(n: int, batch: str = "b") -> AnnData:
    found = AnnData(sp.csr_matrix(np.ones((n, 1), np.float32)))
    found.obs["batch"] = batch
    return found


def test_prediction_is_the_weighted_mean() -> None:
    members = [AnnData(np.full((2, 3), value, np.float32)) for value in (1.0, 4.0)]
    data = PredictionData("d", "GEX2ADT", cells(1), cells(1), cells(2))
    np.testing.assert_allclose(combine(data, members, np.array([0.25, 0.75])), 3.25)


def test_matching_assigns_the_mean_similarity() -> None:
    """Three members, each wrong on a pair of its own, are right together."""
    truth = 10 * np.eye(6, dtype=np.float32)
    members = []
    for i in range(3):
        member = AnnData(sp.csr_matrix((6, 6), dtype=np.float32))
        left = truth.copy()
        left[[2 * i, 2 * i + 1]] = left[[2 * i + 1, 2 * i]]
        member.obsm[SIMILARITY], member.varm[SIMILARITY] = left, truth
        members.append(member)
    data = MatchingData("d", "GEX2ADT", cells(1), cells(1), np.arange(1), cells(6), cells(6))
    alone = combine(data, members[:1], np.ones(1)).toarray()
    assert alone[0, 1] == alone[1, 0] == 1
    together = combine(data, members, np.full(3, 1 / 3)).toarray()
    np.testing.assert_array_equal(together, np.eye(6))


def test_a_heavier_member_has_more_to_say_in_a_matching() -> None:
    members = []
    for partner in (np.eye(4), np.eye(4)[[1, 0, 3, 2]]):
        member = AnnData(sp.csr_matrix((4, 4), dtype=np.float32))
        member.obsm[SIMILARITY], member.varm[SIMILARITY] = 10 * partner, np.eye(4)
        members.append(member)
    data = MatchingData("d", "GEX2ADT", cells(1), cells(1), np.arange(1), cells(4), cells(4))
    for weights, right in (((0.8, 0.2), np.eye(4)), ((0.2, 0.8), np.eye(4)[[1, 0, 3, 2]])):
        np.testing.assert_array_equal(combine(data, members, np.array(weights)).toarray(), right)


def test_the_members_settings_give_the_quantile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def noted(*given: object) -> object:
        found.append(given[3])
        return combine(*given)

    monkeypatch.setattr("scmobench.experiment.ensemble.combine", noted)
    given = ["task=match_modality", "dataset=tiny_cite", "model=novel_clip", "smoke=true", f"runs={tmp_path}"]
    run_ensemble(Plan.composed([*given, "ensemble=seeds", "ensemble.members=[[]]"]))
    assert found == [0.99]


def test_matching_is_assigned_with_the_quantile_of_the_members() -> None:
    """All pairs (quantile 0) give the best total; the two best of each row and column may not."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((40, 3)).astype(np.float32) for _ in range(2))
    member = AnnData(sp.csr_matrix((40, 40), dtype=np.float32))
    member.obsm[SIMILARITY], member.varm[SIMILARITY] = left, right
    data = MatchingData("d", "GEX2ADT", cells(1), cells(1), np.arange(1), cells(40), cells(40))
    batches = [side.obs["batch"].to_numpy() for side in (data.test_mod1, data.test_mod2)]
    found = [combine(data, [member], np.ones(1), quantile) for quantile in (0.0, 0.8)]
    for matching, quantile in zip(found, (0.0, 0.8), strict=True):
        expected = assign_softmax((left, right), *batches, quantile=quantile)
        assert (matching != expected).nnz == 0
    assert (found[0] != found[1]).nnz > 0


def test_embeddings_are_joined_whatever_their_units_and_origins() -> None:
    """Distances between cells are those of the members at unit total variance, mixed by their weights."""
    rng = np.random.default_rng(0)
    members = [AnnData(rng.normal(size=(30, width))) for width in (3, 2)]
    data = EmbeddingData("d", "GEX-ADT", cells(30), cells(30))
    joined = combine(data, members, np.array([0.25, 0.75]))
    assert joined.shape == (30, 3)
    moved = combine(data, [AnnData(members[0].X * 100 + 7), members[1]], np.array([0.25, 0.75]))
    np.testing.assert_allclose(moved @ moved.T, joined @ joined.T, atol=1e-6)
    gram = 0.0
    for member, weight in zip(members, (0.25, 0.75), strict=True):
        centred = member.X - member.X.mean(axis=0)
        gram = gram + weight * centred @ centred.T / np.linalg.norm(centred) ** 2
    found = np.sort(np.linalg.eigvalsh(gram))[-3:]  # of five directions
    np.testing.assert_allclose(np.linalg.norm(joined) ** 2, found.sum(), rtol=1e-5)


def test_weights_follow_validation() -> None:
    runs = [{"task": "predict_modality", "method": "m", "validation": v} for v in (0.5, 1.0)]
    np.testing.assert_allclose(member_weights("validation", runs), [0.8, 0.2])
    np.testing.assert_allclose(member_weights("equal", runs), [0.5, 0.5])
    with pytest.raises(ValueError, match="no validation score from m"):
        member_weights("validation", [runs[0], runs[0] | {"validation": None}])
    matching = [r | {"task": "match_modality"} for r in runs]
    np.testing.assert_allclose(member_weights("validation", matching), [1 / 3, 2 / 3])


def test_weights_that_cannot_be_are_refused_before_a_member_is_fitted() -> None:
    given = ["dataset=tiny_cite", "model=random", "ensemble=validation", "task=joint_embedding"]
    with pytest.raises(ValueError, match="those of embeddings do not compare: use ensemble=seeds"):
        members(Plan.composed(given))
    with pytest.raises(ValueError, match="one of equal, validation, held_out or null, found 'rank'"):
        compose(["dataset=tiny_cite", "model=random", "ensemble=seeds", "ensemble.weights=rank"])
    members(Plan.composed([*given[:2], "ensemble=seeds", given[3]]))  # as the message says


def test_members_are_ordinary_runs_with_seeds_of_their_own(tmp_path: Path) -> None:
    given = ["dataset=tiny_cite", "model=random", "ensemble=seeds", "seed=1", f"runs={tmp_path}"]
    record = ensemble_of(given)
    assert ensemble_of(given)["skipped"]
    stored = {(r["method"], r["seed"]): r for r in kept.read([tmp_path])}
    assert set(stored) == {("random", s) for s in (4, 5, 6, 7)} | {("random+ensemble_seeds", 1)}
    assert record["kind"] == "ensemble"
    members = [anndata.read_h5ad(p) for p in tmp_path.rglob("random/*/*/prediction.h5ad")]
    (path,) = tmp_path.rglob("random+ensemble_seeds/*/*/prediction.h5ad")
    dense = [m.X.toarray() if sp.issparse(m.X) else m.X for m in members]
    np.testing.assert_allclose(anndata.read_h5ad(path).X, np.mean(dense, axis=0), rtol=1e-5)


def test_members_and_command_line_do_not_set_the_same_key(tmp_path: Path) -> None:
    given = ["dataset=tiny_multiome", "model=scmognn", "ensemble=competition", f"runs={tmp_path}"]
    with pytest.raises(ValueError, match="sets ablation=layers_1 itself"):
        ensemble_of([*given, "ablation=layers_1"])
    found = [(member.name, member.cfg.seed) for member in members(Plan.composed(given))]
    held_out = "scmognn+batch_separated"
    assert found == [("scmognn", 0), ("scmognn", 1), (held_out, 2), (held_out, 3)]
    with pytest.raises(ValueError, match="members of several models, ablation=layers_1 is of one"):
        ensemble_of(["dataset=tiny_multiome", "ensemble=unlike", "ablation=layers_1", f"runs={tmp_path}"])


def test_members_that_say_nothing_share_the_weight() -> None:
    assert convex_weights(np.zeros((2, 2)), np.zeros(2)).tolist() == [0.5, 0.5]


def test_convex_weights_are_those_of_the_least_error() -> None:
    """Against a fine grid over two members, one of them worthless and one of them good."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    members = np.stack([truth + rng.normal(size=400), truth + 2 * rng.normal(size=400), -truth])
    weights = convex_weights(members @ members.T, members @ truth)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] == 0
    grid = np.linspace(0, 1, 1001)
    errors = [np.square(w * members[0] + (1 - w) * members[1] - truth).mean() for w in grid]
    assert weights[0] == pytest.approx(grid[np.argmin(errors)], abs=0.1)
    assert weights[0] > weights[1]


def test_unlike_members_are_weighted_on_training_cells(tmp_path: Path) -> None:
    """The mean of the training cells, which says little, weighs less than a regression."""
    own = "ensemble.members=[['model=svd_linear'],['model=zeros'],['model=zeros']]"
    given = ["dataset=tiny_cite", "seed=1", "ensemble=unlike", own, f"runs={tmp_path}"]
    with pytest.raises(ValueError, match=r"found model=knn, model\.predict_modality\.k=5"):
        ensemble_of([*given, "model=knn", "model.predict_modality.k=5"])
    record = ensemble_of(given)
    assert record["method"] == "ensemble_unlike"
    assert record["report"]["members"] == ["svd_linear seed 1", "zeros seed 2", "zeros seed 3"]
    assert record["report"]["weights"] == [1.0, 0.0, 0.0]
    assert {r["method"] for r in kept.read([tmp_path])} == {"ensemble_unlike", "svd_linear", "zeros"}
    for score_on in ("validation", "predicted_types"):
        with pytest.raises(ValueError, match=f"needs score_on=test, found {score_on}"):
            ensemble_of([*given, f"score_on={score_on}"])
    with pytest.raises(ValueError, match="needs score_on=test, found validation"):
        validate([*given, "score_on=validation"])


@pytest.mark.parametrize(("weights", "labels"), [("equal", False), ("held_out", True)])
def test_weights_from_labels_make_an_ensemble_label_supervised(tmp_path, weights: str, labels: bool) -> None:
    given = ["task=joint_embedding", "dataset=tiny_cite", "model=gex_only", "ensemble=seeds"]
    given += ["ensemble.members=[[],[]]", f"ensemble.weights={weights}", f"runs={tmp_path}"]
    assert ensemble_of(given)["label_supervised"] is labels


def ensemble_of(given: list[str]) -> dict:
    return run_ensemble(Plan.composed(given))
