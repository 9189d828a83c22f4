"""scMoGNN for prediction: options, steps, held-out cells, inputs, and settings that are refused."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from planted import error, planted, side
from scmobench.data.preprocess import NoTrendError
from scmobench.data.reduce import SVD
from scmobench.graph.cell_feature import CellFeatureGraph
from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction
from scmobench.models.scmognn.predict_network import PredictModule
from scmobench.nn.scmognn import ScMoGNN
from scmobench.training.validation import validation_cells
from scmobench.types import PredictionData


@pytest.fixture(scope="module")
def data() -> tuple[PredictionData, np.ndarray]:
    return planted(160, 40, 0.3, 1.0)


def model(**changed):
    settings = {"hidden": 16, "layers": 2, "max_epochs": 4, "readout": "cat", "edge_dropout": 0.2} | changed
    return ScMoGNNPrediction(**settings)


def answer(data, seed=0, **changed):
    made = model(**changed)
    seen = data.for_fit(made.transductive, False)
    return made.fit(seen, seed).predict(data)


@pytest.mark.parametrize("transductive", [True, False])
def test_planted_signal_is_recovered(data, transductive):
    data, truth = data
    fitted = model(transductive=transductive, max_epochs=80, edge_dropout=0, dropout=0.1)
    predicted = fitted.fit(data.for_fit(transductive, False), 0).predict(data)
    constant = np.tile(data.train_mod2.X.toarray().mean(0), (40, 1))
    assert error(predicted, truth) < 0.85 * error(constant, truth)
    assert predicted.min() >= 0
    report = fitted.report()
    assert report["validation"] == min(e["validation"] for e in fitted.fitted.history)
    assert report["validation"] < 0.7 * fitted.fitted.history[0]["validation"]
    assert report["parameters"] > 0
    assert report["epochs"] == 80


@pytest.mark.parametrize("changed", [{}, {"batch_size": 50, "feature_share": 0.5}, {"pathway": "learned"}])
def test_same_seed_same_bytes(data, changed):
    first, again, other = (answer(data[0], seed, **changed) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, other)


ALONE = {"transductive": False, "pathway": "learned", "batch_features": False, "cell_init": "svd"}
ALONE |= {"n_top_features": 20, "learning_rate": 1e-3, "weight_averaging": 0.5, "weight_decay": 0.5}
ALONE |= {"decay_start": -90, "max_epochs": 3, "validation": "batch_separated", "validation_share": 0.4}
ALONE |= {"batch_size": 40, "feature_share": 0.5, "edge_dropout": 0.0, "dropout": 0.5, "residual": "add"}
ALONE |= {"embedding_blocks": 2}
OF_PATHWAYS = {"pathway_weight": "pearson", "pathway_neighbours": 2, "pathway_threshold": 0.6, "alpha": 0.1}
CHANGES = [{name: value} for name, value in ALONE.items()]
CHANGES += [{"pathway": "learned", name: value} for name, value in OF_PATHWAYS.items()]


def test_every_option_changes_the_prediction(data):
    seen = {}
    for changed in CHANGES:
        seen[str(changed)] = answer(data[0], **changed).tobytes()
    seen["none"] = answer(data[0]).tobytes()
    assert len(set(seen.values())) == len(CHANGES) + 1


def test_a_batch_of_all_cells_is_the_full_batch(data):
    data, _ = data
    whole = model().fit(data, 0)
    target = torch.from_numpy(data.train_mod2.X.toarray())
    graph = whole._graph(data)
    held_out = validation_cells(data.train_mod1.obs, "random", 0.15, 0)
    network = whole.module.network.eval()
    full = PredictModule(network, graph, target, held_out, True, whole).training_step(torch.zeros(1), 0)
    module = PredictModule(network, graph, target, held_out, False, whole)
    shuffled = torch.from_numpy(np.random.default_rng(0).permutation(160))
    torch.testing.assert_close(module.training_step(shuffled, 0), full)
    halves = [module.training_step(part, 0) for part in shuffled.split(80)]
    assert not torch.allclose(halves[0], full)


def test_best_epoch_comes_back_whole(data):
    data, _ = data
    fitted = model(max_epochs=25, learning_rate=0.2, readout="weighted_sum", validation_share=0.3)
    fitted.fit(data, 0)
    report = fitted.report()
    assert report["best_epoch"] < 24  # a rate this high overshoots
    held_out = validation_cells(data.train_mod1.obs, "random", 0.3, 0)
    with torch.no_grad():
        predicted = fitted.module.network(fitted._graph(data).tensors()).clamp(min=0)[held_out]
    truth = data.train_mod2.X.toarray()[held_out]
    assert error(predicted.numpy(), truth) == pytest.approx(report["validation"], rel=1e-5)


@pytest.mark.parametrize("below", [0.0, 0.1])
def test_validation_clips_at_zero_or_at_the_lowest_target(data, below):
    data, _ = data
    shifted = data.train_mod2.copy()
    shifted.X = sp.csr_matrix(shifted.X.toarray() - np.float32(below))
    fitted = model(max_epochs=1, learning_rate=1e-30).fit(replace(data, train_mod2=shifted), 0)
    held_out = validation_cells(data.train_mod1.obs, "random", 0.15, 0)
    with torch.no_grad():
        predicted = fitted.module.network(fitted._graph(data).tensors()).numpy()[held_out]
    lowest = shifted.X.toarray().min()
    assert lowest == pytest.approx(-below)
    assert (predicted < lowest).any()
    expected = error(np.maximum(predicted, lowest), shifted.X.toarray()[held_out])
    assert fitted.fitted.best == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("whole", [True, False])
def test_a_step_takes_the_root_of_the_mean_square_over_its_own_cells_that_are_not_held_out(whole):
    rng = np.random.default_rng(0)
    graph = CellFeatureGraph.build(sp.random(12, 8, 0.6, "csr", np.float32, rng))
    target, held_out = torch.randn(10, 3), np.array([1, 4, 5])  # cells 10 and 11 are test cells
    network = ScMoGNN(8, 3, hidden=8, layers=2)
    module = PredictModule(network, graph, target, held_out, whole, model()).eval()
    batch = torch.tensor([0, 4, 7, 11, 2])
    loss = module.training_step(batch, 0)
    cells = np.setdiff1d(np.arange(10), held_out) if whole else np.array([0, 7, 2])
    seen = graph if whole else graph.sample(batch.numpy())
    places = cells if whole else np.array([0, 2, 4])
    error = module.network(seen.tensors())[places] - target[cells]
    torch.testing.assert_close(loss, error.square().mean().sqrt())


def test_features_of_a_step_are_drawn_by_their_number_of_edges():
    matrix = np.array([[1, 0, 2, 1], [1, 0, 0, 3], [5, 0, 0, 0]], np.float32)  # 3, 0, 1 and 2 edges
    graph, network = CellFeatureGraph.build(sp.csr_matrix(matrix)), ScMoGNN(4, 1, hidden=8, layers=1)
    one, three = (
        PredictModule(network, graph, torch.zeros(3, 1), np.array([0]), False, model(feature_share=share))
        for share in (0.25, 0.75)
    )
    torch.manual_seed(0)
    drawn = np.concatenate([one._some_features() for _ in range(3000)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 3000, [3 / 6, 0, 1 / 6, 2 / 6], atol=0.03)
    assert all(three._some_features().tolist() == [0, 2, 3] for _ in range(20))


def test_components_of_the_start_are_those_of_training_cells(data):
    """An SVD of all cells has components for what sets the test batch apart, which nothing can teach."""
    data, _ = data
    shifted = side(data.test_mod1.X.toarray() + 5 * (np.arange(40) % 2), "GEX", ["t1"] * 40)
    fits = [model(cell_init="svd").fit(d, 0) for d in (data, replace(data, test_mod1=shifted))]
    assert np.array_equal(fits[0].svd.components_, fits[1].svd.components_)
    whole = [fit._graph(data).cell_inputs for fit in fits]
    assert np.array_equal(*whole)
    assert len(whole[0]) == 160
    expected = SVD(100, 0).fit(data.train_mod1.X).components_
    np.testing.assert_allclose(fits[0].svd.components_, expected, atol=1e-6)


def test_features_kept_are_the_most_variable_by_their_counts(data):
    """They move with the counts, whatever the normalised values say; without counts those have to do."""
    data, _ = data
    moved = data.train_mod1.copy()
    moved.layers["counts"] = moved.layers["counts"][:, np.roll(np.arange(40), 1)]
    kept = [
        model(n_top_features=10, max_epochs=1).fit(replace(data, train_mod1=cells), 0).columns
        for cells in (data.train_mod1, moved)
    ]
    assert set(kept[1]) == set((kept[0] + 1) % 40) != set(kept[0])


def test_variance_decides_where_seurat_v3_finds_no_trend(data, monkeypatch):
    data, _ = data

    def no_trend(*_):  # the real failure leaves the memory of the local regression in no good order
        raise NoTrendError

    monkeypatch.setattr("scmobench.data.preprocess._variance_of_standardised_counts", no_trend)
    fitted = model(n_top_features=10, max_epochs=1).fit(data, 0)
    variance = data.train_mod1.layers["counts"].toarray().var(axis=0)
    assert set(fitted.columns) == set(np.argsort(-variance, kind="stable")[:10])
    assert "seurat_v3 found no trend" in fitted.report()["notes"]


def test_batch_features_of_one_training_batch_are_said_to_tell_nothing(data):
    data, _ = data
    one = (data.train_mod1.obs["batch"] == "b1").to_numpy()
    single = replace(data, train_mod1=data.train_mod1[one].copy(), train_mod2=data.train_mod2[one].copy())
    told = [
        model(max_epochs=1, **more).fit(single, 0).report()["notes"]
        for more in ({}, {"batch_features": False})
    ]
    told.append(model(max_epochs=1).fit(data, 0).report()["notes"])
    assert ["one training batch" in notes for notes in told] == [True, False, False]


def test_pathway_only_for_genes_and_said_so(data, tmp_path):
    data, _ = data
    swapped = replace(data, train_mod1=data.train_mod2, train_mod2=data.train_mod1, test_mod1=None)
    fitted = model(pathway="learned", max_epochs=1).fit(swapped, 0)
    assert fitted.edges is None
    assert "the input is ADT" in fitted.report()["notes"]
    fitted = model(pathway="learned", max_epochs=1).fit(data, 0)
    assert "learned from the training cells" in fitted.report()["notes"]
    sets = tmp_path / "sets.gmt"
    sets.write_text("S\tx\tG1\tG2\tG3\n")
    fitted = model(pathway=str(sets), max_epochs=1).fit(data, 0)
    assert fitted.edges.nnz == 6
    table = tmp_path / "links.tsv"
    table.write_text("feature_a\tfeature_b\tweight\na1\ta2\t0.5\n")
    assert model(pathway=str(table), max_epochs=1).fit(swapped, 0).edges.nnz == 2


def test_rate_falls_as_published(data):
    fitted = model(max_epochs=1, decay_start=1200).fit(data[0], 0)
    factor = fitted.module.configure_optimizers()["lr_scheduler"].lr_lambdas[0]
    assert [factor(e) for e in (0, 1200, 1214)] == [1, 1, 1]
    assert factor(1215) == pytest.approx(0.99)
    assert factor(1231) == pytest.approx(0.99**2)


def test_unknown_settings_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'hiden'"):
        ScMoGNNPrediction(hiden=3)


def test_hidden_fits_the_groups_of_its_normalisation(data):
    with pytest.raises(ValueError, match="hidden to be a multiple of 4 with norm=group, found 30"):
        answer(data[0], hidden=30, max_epochs=1)


def test_held_out_targets_teach_nothing(data):
    """What validates is permuted: it may choose the epoch, and there is but one to choose."""
    data, _ = data
    held_out = validation_cells(data.train_mod1.obs, "random", 0.15, 0)
    other = data.train_mod2.copy()
    X = other.X.toarray()
    X[held_out] = X[np.roll(held_out, 1)]
    other.X = sp.csr_matrix(X)
    given = {"max_epochs": 1, "evaluate_every": 1, "validation_share": 0.15}
    answers = [answer(replace(data, train_mod2=mod2), **given) for mod2 in (data.train_mod2, other)]
    assert np.array_equal(*answers)


def test_no_edges_are_no_pathway(data, tmp_path):
    sets = tmp_path / "sets.gmt"
    sets.write_text("S\tx\tG1\tG2\tG3\n")
    fitted = model(pathway=str(sets), pathway_threshold=0.9999, max_epochs=1).fit(data[0], 0)
    assert fitted.edges is None
    assert "no two features are joined of a weight above 0.9999" in fitted.report()["notes"]


def test_starter_kit_falls_below_the_mean(starter_kit):
    *parts, truth = starter_kit.values()
    data = PredictionData("kit", "GEX2ADT", *parts)
    predicted = model(hidden=48, cell_init="svd", max_epochs=25).fit(data, 0).predict(data)
    assert error(predicted, truth.X.toarray()) < 0.7  # the mean scores 0.794


def test_a_last_batch_of_one_cell_is_no_whole_graph(data, monkeypatch):
    sizes = []
    forward = ScMoGNN.forward

    def counted(self, graph, cells):
        if self.training:
            sizes.append(graph.matrix.shape[0])
        return forward(self, graph, cells)

    monkeypatch.setattr(ScMoGNN, "forward", counted)
    seen = data[0].for_fit(True, False)
    model(batch_size=53, max_epochs=3).fit(seen, 0)  # 160 cells: 53, 53, 53 and 1
    assert set(sizes) <= {53, 1}
    assert 53 in sizes


def test_a_last_batch_of_one_cell_has_no_batch_statistics(data):
    seen = data[0].for_fit(True, False)
    fitted = model(batch_size=53, max_epochs=2, norm="batch").fit(seen, 0)
    assert np.isfinite(fitted.predict(data[0])).all()


def test_targets_below_zero_can_be_predicted(data):
    shifted = data[0].train_mod2.copy()
    shifted.X = sp.csr_matrix(shifted.X.toarray() - 5)
    below = replace(data[0], train_mod2=shifted)
    assert model(max_epochs=30).fit(below.for_fit(True, False), 0).predict(below).mean() < -1
