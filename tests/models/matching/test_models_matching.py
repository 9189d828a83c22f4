"""The matching rivals: planted pairs are found, in any order of rows, and each step is as described."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

from planted import simulated
from scmobench.data.preprocess import TFIDF
from scmobench.data.reduce import SVD
from scmobench.graph.propagation import standardised
from scmobench.models.controls import SemiSolutionMatching
from scmobench.models.matching import pair_networks
from scmobench.models.matching.assignment import assign_softmax
from scmobench.models.matching.clue_like import ClueLike
from scmobench.models.matching.linear_hungarian import LinearHungarian
from scmobench.models.matching.novel_clip import NovelClip
from scmobench.models.matching.procrustes import Procrustes
from scmobench.models.scmognn.match_modality import ScMoGNNMatching
from scmobench.tasks.match_modality import MatchModality
from scmobench.training.cells import fit_cells
from scmobench.training.fit import TrainerSettings
from scmobench.training.validation import validation_split
from scmobench.types import MatchingData, Problem

SHARED = {"components": {"GEX": 12}, "learning_rate": 1e-2, "batch_size": 64, "max_epochs": 40}
CLIP = {"joint_dim": 8, "gex_hidden": [24], "gex_dropout": 0.0, "other_hidden": [24], "other_dropout": 0.0}
CLUE = {"latent_dim": 6, "hidden": [24], "decoder_hidden": [16], "batch_size": 32}
RIVALS = {
    "procrustes": lambda **_: Procrustes(n_components=15),
    "novel_clip": lambda **k: NovelClip(**{**SHARED, **CLIP, "zscore": False, "center_batches": True, **k}),
    "clue_like": lambda **k: ClueLike(**{**SHARED, **CLUE, **k}),
}
each = pytest.mark.parametrize("name", RIVALS)


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    sizes = {"n_cells": 400, "n_genes": 80, "n_mod2": 40, "n_batches": 5}
    paired = simulated(**sizes, test_batches=["batch4", "batch5"])
    return {direction: MatchModality().split(paired, direction) for direction in ("from_gex", "to_gex")}


@pytest.fixture(scope="module")
def data(problems: dict[str, Problem]) -> MatchingData:
    return problems["from_gex"].data


def fitted(model, data: MatchingData, seed: int = 0):
    return model.fit(data.for_fit(model.transductive, model.label_supervised), seed)


def hit_rate(matching: sp.csr_matrix, problem: Problem) -> float:
    """Match probability: mean weight on the partner, rows scaled to sum 1."""
    dense = matching.toarray()
    partner = np.argsort(problem.solution.uns["pairing_ix"])
    return (dense[np.arange(len(partner)), partner] / dense.sum(axis=1)).mean()


@each
@pytest.mark.parametrize("direction", ["from_gex", "to_gex"])
def test_planted_pairs_are_found(problems, name: str, direction: str) -> None:
    problem = problems[direction]
    model = fitted(RIVALS[name](), problem.data)
    matching = model.predict(problem.data)
    n = matching.shape[0]
    # chance is 2 / n, as there are two batches
    assert hit_rate(matching, problem) > 6 / n
    left, right = getattr(model, "sides", model.similarity)(problem.data)
    similarity = left @ right.T
    partner = np.argsort(problem.solution.uns["pairing_ix"])
    foscttm = (similarity > similarity[np.arange(n), partner][:, None]).mean()
    assert foscttm < 0.25
    batch1, batch2 = (c.obs["batch"].to_numpy() for c in (problem.data.test_mod1, problem.data.test_mod2))
    pairs = matching.tocoo()
    assert (batch1[pairs.row] == batch2[pairs.col]).all()


@each
def test_test_cells_in_another_order_are_matched_the_same(data: MatchingData, name: str) -> None:
    model = fitted(RIVALS[name](max_epochs=15), data)
    n = data.test_mod1.n_obs
    rng = np.random.default_rng(5)
    rows, columns = rng.permutation(n), rng.permutation(n)
    other = dataclasses.replace(
        data, test_mod1=data.test_mod1[rows].copy(), test_mod2=data.test_mod2[columns].copy()
    )
    expected = model.predict(data).toarray()[np.ix_(rows, columns)]
    found = model.predict(other).toarray()
    # sums in another order may turn the odd tie
    assert (np.abs(found - expected).max(axis=1) < 1e-5).mean() > 0.9


def test_procrustes_undoes_a_rotation() -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    first = rng.standard_normal((90, 6)) * np.arange(6, 0, -1) + 20
    second = (first - first.mean(axis=0)) @ rotation * 3 + 50
    cells = [AnnData(side.astype(np.float32)) for side in (first, second)]
    for side in cells:
        side.obs["batch"] = "a"
    pairing, shuffle = rng.permutation(60), rng.permutation(30)
    data = MatchingData(
        dataset="rotated",
        subtask="GEX2ADT",
        train_mod1=cells[0][:60].copy(),
        train_mod2=cells[1][:60][pairing].copy(),
        train_pairing=pairing,
        test_mod1=cells[0][60:].copy(),
        test_mod2=cells[1][60:][shuffle].copy(),
    )
    for settings in ({}, {"center": "train"}, {"cosine": True}):
        matching = fitted(Procrustes(n_components=5, **settings), data).predict(data)
        np.testing.assert_array_equal(shuffle[matching.indices], np.arange(30))


def test_procrustes_rotation_is_orthogonal_and_sides_may_differ(data: MatchingData) -> None:
    model = fitted(Procrustes(n_components=70), data)
    assert [len(svd.components_) for svd in model.svds] == [70, 39]
    assert model.rotation.shape == (70, 70)
    np.testing.assert_allclose(model.rotation @ model.rotation.T, np.eye(70), atol=1e-5)


def test_novel_clip_leaves_each_batch_out_once(data: MatchingData, monkeypatch) -> None:
    trained = []

    def spy(build, fitted, held_out, *settings, **more):
        trained.append([fitted, held_out])
        return fit_cells(build, fitted, held_out, *settings, **more)

    monkeypatch.setattr(pair_networks, "fit_cells", spy)
    model = NovelClip(**{**SHARED, **CLIP, "max_epochs": 2})
    folds = model.held_out(data.train_mod1.obs, seed=0)
    batch = data.train_mod1.obs["batch"].to_numpy()
    assert sorted({name for fold in folds for name in batch[fold]}) == ["batch1", "batch2", "batch3"]
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(len(batch)))
    fitted(model, data)
    assert len(model.modules) == 3
    for part, fold in zip(trained, folds, strict=True):
        np.testing.assert_array_equal(part[1], fold)
        np.testing.assert_array_equal(np.sort(np.concatenate(part)), np.arange(len(batch)))
    assert len(fitted(NovelClip(**{**SHARED, **CLIP, "max_epochs": 2, "models": 1}), data).modules) == 1
    unequal = pd.DataFrame({"batch": ["large"] * 400 + ["small"] * 60})  # the large one out leaves too few
    np.testing.assert_array_equal(model.held_out(unequal, seed=0), [np.arange(400, 460)])


def test_novel_clip_similarity_is_the_mean_of_its_models(data: MatchingData) -> None:
    model = fitted(NovelClip(**{**SHARED, **CLIP, "max_epochs": 5}), data)
    left, right = model.similarity(data)
    states = model.states.of_test(data)
    expected = 0
    for module in model.modules:
        module.set_states(*states)
        with torch.no_grad():
            expected = (
                expected + module(slice(None), 0) @ module(slice(None), 1).T * module.log_scale.exp() / 3
            )
    np.testing.assert_allclose(left @ right.T, expected.numpy(), rtol=1e-4, atol=1e-4)
    batches = [cells.obs["batch"].to_numpy() for cells in (data.test_mod1, data.test_mod2)]
    assert model.quantile == 0.99  # as published
    assert (model.predict(data) != assign_softmax((left, right), *batches, quantile=0.99)).nnz == 0


def test_novel_clip_reads_z_scores_of_normalised_values_made_before_the_first_component_is_dropped(
    data: MatchingData,
) -> None:
    model = fitted(NovelClip(**{**SHARED, **CLIP, "max_epochs": 1}), data)
    gex = data.train_mod1
    share = TFIDF().fit(gex.X).transform(gex.X)
    share = np.log1p(1e4 * share.toarray() / np.asarray(share.sum(axis=1)))
    scores = SVD(13, 0).fit_transform(share)
    scores = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, ddof=1, keepdims=True)
    expected = standardised(scores[:, 1:].astype(np.float32))
    np.testing.assert_allclose(model.states.fit_train(data.for_fit(False, False))[0][0], expected, atol=1e-3)


def test_novel_clip_reads_counts_where_normalised_values_go_below_zero(data: MatchingData) -> None:
    lower = dataclasses.replace(
        data, train_mod1=data.train_mod1.copy(), train_mod2=data.train_mod2, test_mod1=data.test_mod1.copy()
    )
    for cells in (lower.train_mod1, lower.test_mod1):
        cells.X = sp.csr_matrix(cells.X.toarray() - 1)
    options = {**SHARED, **CLIP, "max_epochs": 1}
    model = fitted(NovelClip(**options), lower)
    assert "LSI of raw counts of GEX: normalised values go below 0" in model.report()["notes"]
    expected = fitted(NovelClip(**options, normalised=False), data).sides(data)
    for one, other in zip(model.sides(lower), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_novel_clip_with_one_training_batch(data: MatchingData) -> None:
    kept = np.flatnonzero(data.train_mod1.obs["batch"] == "batch1")
    place = {cell: i for i, cell in enumerate(kept)}
    rows = np.flatnonzero(np.isin(data.train_pairing, kept))
    single = dataclasses.replace(
        data,
        train_mod1=data.train_mod1[kept].copy(),
        train_mod2=data.train_mod2[rows].copy(),
        train_pairing=np.array([place[cell] for cell in data.train_pairing[rows]]),
    )
    model = fitted(NovelClip(**{**SHARED, **CLIP, "max_epochs": 3}), single)
    assert len(model.modules) == 1
    assert model.report()["notes"].startswith("validated on random training cells")
    assert model.predict(single).sum() == single.test_mod1.n_obs


def test_novel_clip_is_scmognn_without_graph_and_decoders(data: MatchingData) -> None:
    """With the same network, cells and fixed temperature, one step of training gives the same bytes."""
    batch_separated = {"validation": "batch_separated", "validation_share": 0.4}
    same = {"log_scale": 2.0, "max_epochs": 3, "patience": 3, "weight_decay": 0.0}
    options = {**SHARED, **CLIP, **same, "zscore": True, "quantile": 0.99}
    ablated = ScMoGNNMatching(
        **options, **batch_separated, propagation=False, auxiliary=False, transductive=False
    )
    fitted(ablated, data)
    clip = NovelClip(**options, models=1, learn_scale=False, activation="gelu", normalised=False)
    # both draw the batch that they leave out from the seed
    held_out = validation_split(data.train_mod1.obs, "batch_separated", 0.4, seed=0)[1]
    clip.held_out = lambda obs, seed: [held_out]
    fitted(clip, data)
    expected, found = ablated.similarity(data), clip.similarity(data)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_learned_temperature_moves_and_a_fixed_one_stays(data: MatchingData) -> None:
    options = {**SHARED, **CLIP, "log_scale": 2.0, "max_epochs": 5}
    learned, fixed = (fitted(NovelClip(**options, learn_scale=x), data) for x in (True, False))
    assert abs(learned.report()["scale"][0] - np.exp(2.0)) > 0.05
    assert fixed.report()["scale"] == [round(float(np.exp(2.0)), 3)] * 3
    states = [torch.zeros(1, 4, 3), torch.zeros(1, 4, 2)]
    names = dict(learned.module(states, learned).named_parameters())
    assert names["log_scale"].item() == pytest.approx(2.0)


def test_each_model_of_an_ensemble_logs_in_its_own_folder(data: MatchingData, tmp_path) -> None:
    trainer = TrainerSettings(folder=tmp_path)
    fitted(NovelClip(**{**SHARED, **CLIP, "max_epochs": 1}, trainer=trainer), data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model0", "model1", "model2"]


def test_clue_loss_written_out() -> None:
    torch.manual_seed(0)
    states = [torch.randn(1, 9, 5), torch.randn(1, 9, 3)]
    sizes = {"latent_dim": 2, "hidden": [4], "decoder_hidden": [4], "dropout": 0.0}
    settings = ClueLike(components={}, **sizes, cross_weight=3.0, align_weight=0.5)
    module = settings.module(states, settings).eval()
    cells = torch.tensor([4, 0, 7])
    x = [s[0, cells] for s in states]
    e = [[module.encoders[i][j](x[i]) for j in (0, 1)] for i in (0, 1)]
    u = [torch.cat(parts, dim=1) for parts in e]
    cosine = torch.nn.functional.cosine_similarity(u[0], u[1]).mean()
    expected = 0.5 * (1 - cosine)
    for j in (0, 1):
        own, cross = (((module.decoders[j](e[i][j]) - x[j]) ** 2).mean() for i in (j, 1 - j))
        expected = expected + own + 3.0 * cross
    assert module.loss(cells).item() == pytest.approx(expected.item(), rel=1e-5)
    module.train()
    module.loss(torch.arange(9)).backward()
    assert all(p.grad is not None for p in module.parameters())


def test_clue_sides_are_unit_vectors_and_the_first_is_scaled(problems: dict[str, Problem]) -> None:
    for direction, places in (("from_gex", (0, 1)), ("to_gex", (1, 0))):
        data = problems[direction].data
        model = fitted(ClueLike(**{**SHARED, **CLUE, "max_epochs": 1}, scale=7.0), data)
        found = model.sides(data)
        module, states = model.modules[0].eval(), model.states.of_test(data)
        for side, place, scale in zip(found, places, (7.0, 1.0), strict=True):
            with torch.no_grad():
                u = torch.cat([encode(states[place][0]) for encode in module.encoders[place]], dim=1).numpy()
            u = u / np.sqrt((u**2).sum(axis=1, keepdims=True))
            np.testing.assert_allclose(side, scale * u, rtol=1e-4, atol=1e-5)


def test_assignments_of_the_rivals(data: MatchingData) -> None:
    few = {**SHARED, "max_epochs": 2}
    for kind, soft, hard in (
        (lambda **k: Procrustes(n_components=15, **k), "shared_neighbours", "optimal"),
        (lambda **k: LinearHungarian(n_components=15, **k), "shared_neighbours", "optimal"),
        (lambda **k: NovelClip(**{**few, **CLIP}, **k), "shared_neighbours", "softmax"),
        (lambda **k: ClueLike(**{**few, **CLUE}, **k), "shared_neighbours", "softmax"),
    ):
        shared = fitted(kind(assignment=soft), data).predict(data)
        single = fitted(kind(assignment=hard), data).predict(data)
        assert shared.nnz > shared.shape[0] == single.nnz


def test_semisolution_holds_every_true_pair_and_ten_others(problems: dict[str, Problem]) -> None:
    truth = problems["from_gex"].solution
    n = truth.n_obs
    found = SemiSolutionMatching().answer(truth, seed=0)
    assert found.shape == (n, n)
    assert 10 * n <= found.nnz <= 11 * n
    assert sp.csr_matrix(truth.X).multiply(found).nnz == n
    assert 0 < found.data.min() < found.data.max() < 1
    scores = [
        hit_rate(SemiSolutionMatching().answer(truth, seed), problems["from_gex"]) for seed in range(20)
    ]
    assert np.mean(scores) == pytest.approx(0.100, abs=0.01)  # published: 0.0994 to 0.1005
    tiny = truth[:3, :3].copy()
    tiny.X = sp.eye(3, format="csr", dtype=np.float32)
    assert SemiSolutionMatching().answer(tiny, seed=0).nnz == 9


def test_too_few_cells(data: MatchingData) -> None:
    few = {"train_mod1": data.train_mod1[:3].copy(), "train_mod2": data.train_mod2[:3].copy()}
    tiny = dataclasses.replace(data, **few, train_pairing=np.arange(3))
    for model in (NovelClip(**SHARED), ClueLike(**SHARED), ScMoGNNMatching(**SHARED)):
        with pytest.raises(ValueError, match="at least 4 training cells, found 3"):
            model.fit(tiny, 0)
