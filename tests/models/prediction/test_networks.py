"""Training of a network from one matrix to another."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from scmobench.models.prediction import networks
from scmobench.models.prediction.networks import RegressionModule, Training, apply_network, fit_network
from scmobench.training.fit import TrainerSettings
from scmobench.training.loggers import csv_logger
from scmobench.training.surroundings import seeded

FITTED, HELD_OUT = np.arange(0, 90), np.arange(90, 120)


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray]:
    """Half-empty inputs and their linear map, 120 cells."""
    rng = np.random.default_rng(0)
    inputs = rng.random((120, 12)) * (rng.random((120, 12)) < 0.5)
    return inputs.astype(np.float32), (inputs @ rng.standard_normal((12, 5))).astype(np.float32)


def fitted(cells, *, seed=0, network=None, held_out=HELD_OUT, part=None, kind=Training, **changed):
    """A trained network and its report."""
    if network is None:
        with seeded(seed):
            network = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 5))
    settings = kind(**{"batch_size": 16, "max_epochs": 6, "learning_rate": 0.01} | changed)
    return network, fit_network(network, *cells, settings, held_out=held_out, seed=seed, part=part)


class RootTraining(Training):
    """Minimises the root of the squared error."""

    def loss(self, network, inputs, targets):
        return networks.rmse(network(inputs), targets)


def bytes_of(network):
    return b"".join(value.numpy().tobytes() for value in network.state_dict().values())


def rmse(network, cells, places):
    return float(np.sqrt(np.square(apply_network(network, cells[0][places]) - cells[1][places]).mean()))


@pytest.mark.parametrize("kind", [Training, RootTraining])
def test_loss_falls(cells, kind, tmp_path):
    trainer = TrainerSettings(logger=csv_logger, folder=tmp_path)
    network, report = fitted(cells, kind=kind, max_epochs=20, trainer=trainer, part="first")
    scores = [e["validation"] for e in report.history]
    assert len(scores) == report.epochs == 20
    assert report.best < 0.5 * scores[0]
    assert rmse(network, cells, FITTED) < 0.5 * cells[1].std()
    assert (tmp_path / "first" / "metrics.csv").is_file()


def test_best_epoch_is_restored(cells):
    network, report = fitted(cells, learning_rate=0.5, max_epochs=15)  # too high a rate: it jumps about
    assert report.best == min(e["validation"] for e in report.history)
    assert report.best_epoch < 14
    assert rmse(network, cells, HELD_OUT) == pytest.approx(report.best, rel=1e-5)
    network, report = fitted(cells, learning_rate=0.0, patience=2, max_epochs=15)
    assert report.epochs == 3


def test_score_over_chunks_is_the_plain_one(cells, monkeypatch):
    whole, report = fitted(cells)
    monkeypatch.setattr(networks, "chunk", lambda *_: 7)  # 30 cells: four chunks and a shorter one
    parts, in_parts = fitted(cells)
    assert in_parts.best == pytest.approx(report.best, rel=1e-6)
    assert rmse(parts, cells, HELD_OUT) == pytest.approx(in_parts.best, rel=1e-5)
    np.testing.assert_allclose(apply_network(parts, cells[0]), apply_network(whole, cells[0]), rtol=1e-5)


def test_sparse_is_dense(cells):
    for other in ((sp.csr_matrix(cells[0]), cells[1]), tuple(sp.csr_matrix(side) for side in cells)):
        assert bytes_of(fitted(other)[0]) == bytes_of(fitted(cells)[0])
    network = fitted(cells)[0]
    np.testing.assert_array_equal(
        apply_network(network, cells[0]), apply_network(network, sp.csr_matrix(cells[0]))
    )
    assert apply_network(network, cells[0].astype(np.float64)).dtype == np.float32


def test_same_seed_same_bytes(cells):
    first, again, other = (bytes_of(fitted(cells, seed=seed)[0]) for seed in (1, 1, 2))
    assert first == again != other


def test_held_out_cells_are_not_learned_from(cells):
    changed = cells[1].copy()
    changed[HELD_OUT] += 5
    ends = [fitted((cells[0], targets), max_epochs=1)[0] for targets in (cells[1], changed)]
    assert bytes_of(ends[0]) == bytes_of(ends[1])


class Counted(nn.Module):
    """A linear map that notes the sizes of its training batches."""

    def __init__(self):
        super().__init__()
        self.map, self.sizes = nn.Linear(12, 5), []

    def forward(self, x):
        if self.training:
            self.sizes.append(len(x))
        return self.map(x)


@pytest.mark.parametrize(
    ("n", "settings", "sizes"),
    [
        (33, {}, [16, 16]),  # a batch of one cell is left out
        (34, {}, [16, 16, 2]),
        (10, {}, [10]),
        (32, {"min_steps": 4}, [8, 8, 8, 8]),
        (32, {"min_steps": 2}, [16, 16]),
        (32, {"min_steps": 8}, [8, 8, 8, 8]),
    ],
)
def test_batches_have_two_cells_at_least_and_few_cells_make_smaller_ones(cells, n, settings, sizes):
    some, last = tuple(side[: n + 2] for side in cells), np.array([n, n + 1])
    network, _ = fitted(some, network=Counted(), held_out=last, max_epochs=1, **settings)
    assert network.sizes == sizes


def test_decoupled_decay_is_another_optimiser(cells):
    plain = fitted(cells, weight_decay=0.1)[0]
    decoupled = fitted(cells, weight_decay=0.1, decoupled=True)[0]
    assert bytes_of(plain) != bytes_of(decoupled)
    with seeded(0):
        settings = Training(learning_rate=0.2, weight_decay=0.5, decoupled=True)
        module = RegressionModule(nn.Linear(2, 2), settings, *cells)
    start = module.network.weight.detach().clone()
    optimiser = module.configure_optimizers()
    module.network.weight.grad = torch.zeros_like(start)
    optimiser.step()
    torch.testing.assert_close(module.network.weight.detach(), start * (1 - 0.2 * 0.5))


def test_what_does_not_fit_is_an_error(cells):
    with pytest.raises(ValueError, match="lower the learning rate"):
        fitted((cells[0] * np.nan, cells[1]))


def test_a_killed_training_goes_on_to_the_same_bytes(cells, tmp_path, monkeypatch):
    """In the middle of shuffled batches with dropout: the order of cells and the masks continue."""
    straight, expected = fitted(cells)
    step, steps = RegressionModule.training_step, []

    def killed(self, batch, number):
        steps.append(number)
        if len(steps) == 4:  # of six, each an epoch of six batches
            raise SystemError("killed")
        return step(self, batch, number)

    trainer = TrainerSettings(folder=tmp_path, resume_every_seconds=0)
    with monkeypatch.context() as patch:
        patch.setattr(RegressionModule, "training_step", killed)
        with pytest.raises(SystemError):
            fitted(cells, trainer=trainer)
    resumed, found = fitted(cells, trainer=trainer)
    assert found == expected
    assert bytes_of(resumed) == bytes_of(straight)


def test_a_time_limit_waits_for_the_first_evaluation(cells):
    limit = TrainerSettings(max_seconds=0, check_val_every_n_epoch=3)
    assert fitted(cells, trainer=limit)[1].epochs == 3


@pytest.mark.parametrize(("ceiling", "epochs"), [(None, 3), (2, 2), (9, 3)])
def test_a_ceiling_on_epochs_never_raises_them(cells, ceiling, epochs):
    trainer = TrainerSettings(max_epochs=ceiling)
    assert fitted(cells, max_epochs=3, trainer=trainer)[1].epochs == epochs


def test_a_loss_that_is_no_number_stops_early(cells):
    inputs = cells[0].copy()
    inputs[HELD_OUT] = np.nan
    steps = []
    with pytest.raises(ValueError, match="to be a number"):
        fitted((inputs, cells[1]), network=Evaluated(steps), max_epochs=50, patience=2)
    assert len(steps) < 50


class Evaluated(nn.Linear):
    """Counts the epochs by its evaluations."""

    def __init__(self, steps):
        super().__init__(12, 5)
        self.steps = steps

    def forward(self, x):
        if not self.training:
            self.steps.append(1)
        return super().forward(x)
