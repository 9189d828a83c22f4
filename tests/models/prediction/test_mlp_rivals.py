"""The networks among prediction's rivals: AXX, Novel, Cajal and BABEL."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

from planted import error, planted
from scmobench.models.prediction.axx_mlp import AXXMLP, ConcatMLP, left_out_error, left_out_folds
from scmobench.models.prediction.babel_like import BabelLike, SharedSpace
from scmobench.models.prediction.cajal_depth import CajalDepth, DepthNetwork, depth, markers
from scmobench.models.prediction.novel_mlp import NovelMLP
from scmobench.nn.mlp import MLP
from scmobench.training.validation import held_out_cells
from scmobench.types import PredictionData


@pytest.fixture(name="planted", scope="module")
def _planted() -> tuple[PredictionData, np.ndarray]:
    return planted(200, 50, 0.5, 2.0)


MODELS = {
    "axx": lambda **c: AXXMLP(**({"hidden": [32, 16], "max_epochs": 15, "batch_size": 10} | c)),
    "novel": lambda **c: NovelMLP(
        **(
            {"hidden": [32, 32], "dropout": 0.1, "learning_rate": 0.003, "weight_decay": 1e-4}
            | {"batch_size": 16, "max_epochs": 25, "components": 10}
            | c
        )
    ),
    "cajal": lambda **c: CajalDepth(**({"n_markers": 40, "copies": 5, "batch_size": 16} | c)),
    "babel": lambda **c: BabelLike(
        **({"max_epochs": 20, "batch_size": 16, "hidden": 32, "latent": 8, "learning_rate": 0.005} | c)
    ),
}


def mean_error(data, truth):
    return error(np.tile(data.train_mod2.X.toarray().mean(axis=0), (len(truth), 1)), truth)


@pytest.mark.parametrize("name", MODELS)
def test_planted_signal_is_recovered(planted, name):
    data, truth = planted
    model = MODELS[name]().fit(data.for_fit(False, False), 0)
    predicted = model.predict(data)
    assert predicted.shape == truth.shape
    assert predicted.dtype == np.float32
    # novel's z-scored components do not hold a cell's depth
    assert error(predicted, truth) < (0.85 if name == "novel" else 0.7) * mean_error(data, truth)
    report = model.report()
    assert 0 < report["validation"] < 0.8 * mean_error(data, truth)
    assert report["parameters"] > 100
    assert report["notes"]
    if name != "axx":
        assert predicted.min() >= 0
        held_out, _ = held_out_cells(data.train_mod1.obs, 0.15, 0)
        part = replace(data, test_mod1=data.train_mod1[held_out].copy())
        here = error(model.predict(part), truth_of(part, held_out))
        assert here == pytest.approx(report["validation"], rel=0.02)


def truth_of(data, places):
    return data.train_mod2.X.toarray()[places]


@pytest.mark.parametrize("name", MODELS)
def test_another_seed_another_answer(planted, name):
    data, _ = planted
    models = [MODELS[name](max_epochs=1).fit(data.for_fit(False, False), seed) for seed in (1, 2)]
    assert not np.allclose(*(model.predict(data) for model in models))


@pytest.mark.parametrize("name", ["novel", "cajal", "babel"])
def test_targets_of_held_out_cells_teach_nothing(planted, name):
    data, _ = planted
    held_out, _ = held_out_cells(data.train_mod1.obs, 0.15, 0)
    targets = truth_of(data, slice(None))
    targets[held_out] = targets[held_out[::-1]]
    other = data.train_mod2.copy()
    other.X = sp.csr_matrix(targets)
    models = (
        MODELS[name](max_epochs=1).fit(each.for_fit(False, False), 0)
        for each in (data, replace(data, train_mod2=other))
    )
    np.testing.assert_allclose(*(model.predict(data) for model in models), rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_one_batch_and_missing_counts_are_noted(planted, name):
    data, _ = planted
    train = [data.train_mod1.copy(), data.train_mod2.copy()]
    for cells in train:
        cells.obs["batch"] = "only"
        del cells.layers["counts"]
    test = data.test_mod1.copy()
    del test.layers["counts"]
    one = PredictionData("one", "GEX2ADT", *train, test)
    model = MODELS[name](max_epochs=2).fit(one.for_fit(False, False), 0)
    assert np.isfinite(model.predict(one)).all()
    notes = model.report()["notes"]
    assert "random" in notes
    assert ("no raw counts" in notes) == (name == "cajal")


def test_axx_leaves_out_sites_then_batches_then_cells():
    def parts(names, sizes, folds=3):
        batch = np.repeat(names, sizes)
        cut, note = left_out_folds(pd.DataFrame({"batch": batch}), folds, 0)
        assert sorted(np.concatenate(cut).tolist()) == list(range(len(batch)))
        return [set(batch[part]) for part in cut], [len(part) for part in cut], note

    members, _, note = parts(["s1d1", "s1d2", "s2d1", "s4d9"], [5, 5, 5, 5])
    assert members == [{"s1d1", "s1d2"}, {"s2d1"}, {"s4d9"}]
    assert "sites s1, s2, s4" in note
    members, sizes, note = parts(["s1d1", "s1d2"], [5, 6])
    assert members == [{"s1d2"}, {"s1d1"}]
    members, sizes, note = parts(["a", "b", "c", "d"], [10, 2, 9, 8])
    assert members == [{"a"}, {"c"}, {"d", "b"}]
    assert sizes == [10, 9, 10]
    members, sizes, note = parts(["a"], [10])
    assert sizes == [4, 3, 3]
    assert "random" in note
    with pytest.raises(ValueError, match="at least 2 training cells"):
        parts(["a"], [1])


def test_axx_averages_its_folds_and_scores_each_cell_once(planted):
    data, _ = planted
    model = AXXMLP(hidden=[8, 4], max_epochs=2).fit(data.for_fit(False, False), 0)
    assert len(model.networks) == 3
    inputs = torch.from_numpy(data.test_mod1.X.toarray())
    with torch.no_grad():
        each = np.stack([network(inputs).numpy() for network in model.networks])
    np.testing.assert_allclose(model.predict(data), each.mean(axis=0), rtol=1e-5)
    parts, _ = left_out_folds(data.train_mod1.obs, 3, 0)
    squares = []
    for part, network in zip(parts, model.networks, strict=True):
        with torch.no_grad():
            predicted = network(torch.from_numpy(data.train_mod1.X[part].toarray())).numpy()
        squares.append(np.square(predicted - truth_of(data, part)))
    assert model.report()["validation"] == pytest.approx(np.sqrt(np.concatenate(squares).mean()), rel=1e-5)


def test_axx_network_shows_both_layers_to_the_output():
    network = ConcatMLP(3, 2, [4, 5], 0.5).eval()
    assert network.output.in_features == 9
    with torch.no_grad():
        network.second[0].weight.zero_()
        network.second[0].bias.zero_()
        assert network(torch.eye(3)).std(dim=0).min() > 0


def test_axx_without_network_is_the_mean(planted):
    data, truth = planted
    model = AXXMLP(hidden=None).fit(data.for_fit(False, False), 0)
    np.testing.assert_allclose(error(model.predict(data), truth), mean_error(data, truth), rtol=1e-6)
    target = data.train_mod2.X.toarray()
    parts, _ = left_out_folds(data.train_mod1.obs, 3, 0)
    out = [target[p] - np.delete(target, p, axis=0).mean(axis=0) for p in parts]
    report = model.report()
    assert report["validation"] == pytest.approx(np.sqrt(np.square(np.concatenate(out)).mean()), rel=1e-5)
    assert report["epochs"] == 0
    squares = [left_out_error(data.train_mod2.X, part) for part in parts]
    np.testing.assert_allclose(squares, [np.square(part).sum() for part in out], rtol=1e-5)


def test_novel_reads_z_scored_lsi_or_the_values_themselves(planted):
    data, _ = planted
    model = MODELS["novel"](max_epochs=1).fit(data.for_fit(False, False), 0)
    inputs = model.inputs(data.test_mod1)
    assert inputs.shape == (50, 10)
    np.testing.assert_allclose(inputs.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(axis=1, ddof=1), 1, rtol=1e-4)
    raw = MODELS["novel"](max_epochs=1, components=None).fit(data.for_fit(False, False), 0)
    assert raw.inputs(data.test_mod1) is data.test_mod1.X


def widths(network: torch.nn.Module) -> list[int]:
    return [layer.out_features for layer in network.modules() if isinstance(layer, torch.nn.Linear)]


def test_networks_have_the_layers_of_their_settings(planted):
    seen = planted[0].for_fit(False, False)
    for name in ("novel", "cajal"):
        made = MODELS[name](hidden=[24, 20, 12], max_epochs=1).fit(seen, 0)
        assert widths(made.network) == [24, 20, 12, 6]
    babel = MODELS["babel"](hidden=9, latent=4, max_epochs=1).fit(seen, 0)
    assert widths(babel.network) == [9, 4, 9, 4, 9, 50, 9, 6]


def test_novel_predicts_nothing_below_zero(planted):
    """Its last GELU has values below zero."""
    data, _ = planted
    model = MODELS["novel"](max_epochs=1).fit(data.for_fit(False, False), 0)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.fill_(-0.1)
    raw = model.network(torch.zeros(1, 10))
    assert raw.max() < 0
    assert not model.predict(data).any()


def test_cajal_depth_comes_from_the_cells_own_batch():
    X = np.array([[1.0, 0, 3], [2, 2, 2], [0, 0, 10], [5, 5, 5], [1, 1, 1]])
    cells = AnnData(
        sp.csr_matrix(np.ones_like(X)), pd.DataFrame({"batch": list("aabbb")}, index=list("vwxyz"))
    )
    cells.layers["counts"] = sp.csr_matrix(X)
    expected = np.array([[4, 5, 1], [6, 5, 1], *([t, 10, np.std([10, 15, 3])] for t in (10, 15, 3))])
    np.testing.assert_allclose(depth(cells), expected)
    np.testing.assert_allclose(depth(cells[:2].copy()), expected[:2])
    del cells.layers["counts"]
    assert depth(cells)[0, 0] == 3


def test_cajal_markers_are_what_the_targets_explain():
    rng = np.random.default_rng(0)
    program = rng.random((300, 2))
    noise = rng.random((300, 30))
    noise[:, 10:12] = program
    noise[:, 29] = 0
    noise[0, 29] = 5.0  # seen in one cell alone
    targets = sp.csr_matrix(program @ rng.random((2, 40)) + 0.01 * rng.random((300, 40)))
    assert markers(sp.csr_matrix(noise), targets, 2, 0).tolist() == [10, 11]
    assert 29 not in markers(sp.csr_matrix(noise), targets, 29, 0)
    assert markers(sp.csr_matrix(noise), targets, None, 0).tolist() == list(range(30))


def test_cajal_standardises_repeats_and_clips():
    rng = np.random.default_rng(0)
    inputs = rng.random((40, 6)) + 5
    inputs[:, 4] = 1e6  # a covariate that does not vary is ignored, with any value in the test batch
    network = DepthNetwork(MLP(3 + 3 * 4, 2), sp.csr_matrix(inputs), 4, 0.0, (0.0, 0.3)).eval()
    seen = []
    network.body.register_forward_pre_hook(lambda _, given: seen.append(given[0].numpy()))
    with torch.no_grad():
        out = network(torch.from_numpy(inputs).float()).numpy()
        moved = inputs.copy()
        moved[:, 4] = 2e6
        np.testing.assert_array_equal(network(torch.from_numpy(moved).float()).numpy(), out)
    z = (inputs - inputs.mean(axis=0)) / np.maximum(inputs.std(axis=0), 1e-9)
    assert seen[0].shape == (40, 15)
    np.testing.assert_allclose(seen[0][:, :3], z[:, :3], atol=1e-4)
    np.testing.assert_allclose(seen[0][:, 3:7], np.repeat(z[:, 3:4], 4, axis=1), atol=1e-4)
    assert (seen[0][:, 7:11] == 0).all()
    far = np.where(np.arange(6) == 3, 1e6, inputs)  # deeper than any training cell: as the deepest
    with torch.no_grad():
        network(torch.from_numpy(far).float())
    np.testing.assert_allclose(seen[2][:, 3:7], z[:, 3].max(), atol=1e-4)
    assert out.min() == 0
    assert out.max() <= np.float32(0.3)
    assert network.train()(torch.from_numpy(inputs).float()).min() < 0  # else it would have no gradient


def test_babel_decodes_both_from_each():
    network = SharedSpace((7, 4), 5, 3, 0.0)
    model = BabelLike(own_weight=0.25)
    model.spread = [2.0, 0.5]
    first, second = torch.rand(9, 7), torch.rand(9, 4)
    loss = model.loss(network, first, second)
    codes = [encoder(x) for encoder, x in zip(network.encoders, (first, second), strict=True)]
    assert codes[0].shape == codes[1].shape == (9, 3)
    expected = 0.0
    for source in (0, 1):
        for target, (truth, spread) in enumerate(((first, 2.0), (second, 0.5))):
            term = (network.decoders[target](codes[source]) - truth).square().mean() / spread
            expected = expected + (0.25 if source == target else 1.0) * term
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(network.eval()(first), network.decoders[1](network.encoders[0](first)))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="2 hidden layers"):
        AXXMLP(hidden=[8])


def test_held_out_batches_only_where_enough_are_left():
    obs = pd.DataFrame({"batch": np.repeat(["a", "b", "c"], 20)})
    cells, note = held_out_cells(obs, 0.15, 0)
    assert len(cells) == 20
    assert obs["batch"].iloc[cells].nunique() == 1
    assert obs["batch"].iloc[cells[0]] in note
    cells, note = held_out_cells(obs[:40], 0.15, 0)
    assert len(cells) == 6
    assert "6 random training cells" in note
    uneven = pd.DataFrame({"batch": np.repeat(["large", "b", "c"], [90, 5, 5])})
    for seed in range(6):
        cells, _ = held_out_cells(uneven, 0.15, seed)
        assert "large" not in set(uneven["batch"].iloc[cells])
