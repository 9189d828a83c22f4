"""Steps that stay on the device: the same as launched by the host, captured or not."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.utils.data import DataLoader

from scmobench.graph.cell_feature import CellFeatureGraph
from scmobench.models.prediction.networks import RegressionModule, Training, fit_network
from scmobench.models.scmognn import predict_network
from scmobench.models.scmognn.embed_network import UNKNOWN, EmbedModule, EmbedSettings, cycle_term, type_term
from scmobench.models.scmognn.match_network import MatchModule, MatchSettings
from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction
from scmobench.models.scmognn.predict_network import PredictModule
from scmobench.nn.dense import SeededDense
from scmobench.nn.mlp import MLP
from scmobench.nn.scmognn import ScMoGNN
from scmobench.training import resident
from scmobench.training.fit import TrainerSettings, train
from scmobench.training.resident import DeviceSteps, Resident, on_host
from scmobench.training.surroundings import seeded

gpu = pytest.mark.gpu
CPU = TrainerSettings(accelerator="cpu")
CELLS, FEATURES, TARGETS = 90, 40, 5


def prediction(
    device="cpu", whole=False, precision="32-true", averaging=0.9, edge_dropout=0.2, decay_start=-15
):
    rng = np.random.default_rng(0)
    matrix = sp.random(CELLS, FEATURES, 0.4, "csr", np.float32, rng)
    pathway = sp.random(FEATURES, FEATURES, 0.2, "csr", np.float32, rng)
    graph = CellFeatureGraph.build(matrix, pathway=pathway, batches=np.arange(CELLS) % 3)
    network = ScMoGNN(
        FEATURES, TARGETS, hidden=16, layers=2, pathway=True, batch_features=9, edge_dropout=edge_dropout
    )
    target = torch.from_numpy(matrix[:70, :TARGETS].toarray() + 1)
    settings = ScMoGNNPrediction(
        weight_averaging=averaging,
        weight_decay=1e-4,
        decay_start=decay_start,
        trainer=TrainerSettings(accelerator=device, precision=precision),
    )
    module = PredictModule(network, graph, target, np.arange(0, 70, 5), whole, settings)
    if device == "cpu" and not whole:
        module.graph.matrix = SeededDense.of(matrix)
    return module, torch.arange(CELLS)


def matching(device="cpu", **_):
    states = [torch.randn(2, CELLS, width) for width in (12, 8)]
    settings = MatchSettings(
        joint_dim=8, gex_hidden=[16], other_hidden=[16], decoder_hidden=[16], learning_rate=1e-3
    )
    return MatchModule(states, settings), torch.arange(5, CELLS)


def embedding(device="cpu", **_):
    cycle = torch.randn(CELLS, 2)
    cycle[::7, 0] = torch.nan
    types = torch.arange(CELLS) % 4
    types[::5] = UNKNOWN
    settings = EmbedSettings(hidden=[16], dropout=0.1, decoder_hidden=[16], learning_rate=1e-3)
    blocks = {"cell_type": 4, "batch": 2, "cycle": 2, "free": 3}
    states = torch.randn(2, CELLS, 10)
    module = EmbedModule(states, types, cycle, blocks=blocks, batch_size=32, settings=settings)
    return module, torch.arange(CELLS)


def regression(device="cpu", **_):
    inputs = torch.randn(CELLS, 12)
    network, inputs = MLP(12, TARGETS, [16], dropout=0.1, batch_norm=True), inputs.to(device)
    module = RegressionModule(network, Training(), inputs, inputs[:, :TARGETS] * 2)
    module.validation_step = lambda cells, batch_idx: module.log("validation", module.loss(cells))
    return module, torch.arange(5, CELLS)


HEADS = [prediction, matching, embedding, regression]


def fitted(head, device="cpu", capture=True, epochs=6, size=32, settings=None, **options):
    """Parameters after training with steps on the device, and the loss of each epoch."""
    settings = settings or TrainerSettings(accelerator=device, precision=options.get("precision", "32-true"))
    losses = []
    with seeded(3):
        module, cells = head(device, **options)
        if device == "cuda":
            size = len(cells) if options.get("whole") else size
            loader = Resident.steps_on_device(module, cells, size, settings, False)
            module.steps.capture = capture
        else:
            module.steps, module.automatic_optimization = DeviceSteps(cells, size, False), False
            loader = DataLoader(range(1))
        epoch = module.steps.epoch
        module.steps.epoch = lambda: losses.append(epoch()) or losses[-1]
        once = DataLoader([torch.arange(0, CELLS, 4)], batch_size=None)
        report = train(module, loader, once, settings=settings, max_epochs=epochs)
    return module, torch.stack(losses).cpu(), report


@pytest.mark.parametrize("head", HEADS)
def test_an_epoch_takes_every_cell_once_and_learns(head):
    module, losses, report = fitted(head, epochs=30)
    assert losses[-1] < 0.95 * losses[0]
    assert report.epochs == 30
    assert module.steps is None
    assert module.automatic_optimization
    seen = []
    with seeded(0):
        module, cells = head()
        own = module.loss
        module.loss = lambda cells: seen.append(cells.clone()) or own(cells)
        module.steps, module.automatic_optimization = DeviceSteps(cells, 32, False), False
        train(module, DataLoader(range(1)), None, settings=CPU, max_epochs=2)
    assert [len(step) for step in seen] == 2 * [32, 32, len(cells) - 64]
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert torch.equal(first.sort().values, cells)
    assert torch.equal(second.sort().values, cells)
    assert not torch.equal(first, second)
    steps = DeviceSteps(torch.arange(70), 32, False)
    assert steps.plan == [(32, 2), (6, 1)]
    assert steps.count == 70
    assert DeviceSteps(torch.arange(70), 32, True).plan == [(32, 2)]


def test_a_step_on_the_device_is_the_step_of_the_host():
    module, _ = prediction(edge_dropout=0)
    host = copy.deepcopy(module)
    cells = torch.from_numpy(np.random.default_rng(1).permutation(CELLS)[:50])
    for network in (module.network, host.network):
        network.eval()
    loss, expected = module.loss(cells), host.training_step(cells, 0)
    torch.testing.assert_close(loss, expected)
    loss.backward(), expected.backward()
    for (name, ours), theirs in zip(
        module.network.named_parameters(), host.network.parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
    assert module.loss(torch.arange(75, 90)) == 0  # test cells teach nothing
    assert host.training_step(torch.arange(75, 90), 0) is None


def test_the_rate_follows_its_schedule_on_the_device():
    module, _, _ = fitted(prediction, epochs=1)
    seen = []
    with seeded(0):
        module, cells = prediction(decay_start=-30)
        module.steps, module.automatic_optimization = DeviceSteps(cells, 32, False), False
        module.after_step = lambda: seen.append(float(module.steps.optimiser.param_groups[0]["lr"]))
        train(module, DataLoader(range(1)), None, settings=CPU, max_epochs=16)
    assert len(seen) == 48
    assert seen[0] == pytest.approx(0.01 * 0.99**2)
    assert seen[-1] == pytest.approx(0.01 * 0.99**3)


def test_terms_of_the_embedding_leave_unlabelled_cells_out_on_a_device_too():
    logits, codes = torch.randn(6, 3), torch.tensor([0, 1, UNKNOWN, 2, UNKNOWN, 0])
    placed, scores = torch.randn(6, 2), torch.randn(6, 2)
    scores[1, 0] = scores[4] = torch.nan

    class OnDevice(torch.Tensor):
        is_cuda = True

    for term, values, labels in ((type_term, logits, codes), (cycle_term, placed, scores)):
        ours = values.clone().as_subclass(OnDevice).requires_grad_()
        theirs = values.clone().requires_grad_()
        found, expected = term(ours, labels), term(theirs, labels)
        torch.testing.assert_close(found.as_subclass(torch.Tensor), expected)
        found.backward(), expected.backward()
        torch.testing.assert_close(ours.grad.as_subclass(torch.Tensor), theirs.grad)
        assert term(values[4:5], labels[4:5]) is None
        assert term(values[4:5].as_subclass(OnDevice), labels[4:5]) == 0


def test_resume_goes_on_to_the_same_bytes(tmp_path):
    killed(tmp_path, "cpu")


def killed(folder, device):
    settings = TrainerSettings(accelerator=device, folder=folder, resume_every_seconds=0)
    whole, _, _ = fitted(prediction, device, epochs=8)
    with seeded(3):
        module, cells = prediction(device)
        start(module, cells, device, settings)
        epoch, left = module.steps.epoch, iter(range(5))
        module.steps.epoch = lambda: epoch() if next(left, None) is not None else _die()
        once = DataLoader([torch.arange(0, CELLS, 4)], batch_size=None)
        with pytest.raises(RuntimeError, match="killed"):
            train(module, DataLoader(range(1)), once, settings=settings, max_epochs=8)
    assert (folder / "resume.ckpt").is_file()
    again, losses, report = fitted(prediction, device, epochs=8, settings=settings)
    assert report.resumed
    assert len(losses) == 3
    for ours, theirs in zip(again.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def start(module, cells, device, settings):
    if device == "cuda":
        Resident.steps_on_device(module, cells, 32, settings, False)
    else:
        module.steps, module.automatic_optimization = DeviceSteps(cells, 32, False), False


def _die():
    raise RuntimeError("killed")


@pytest.mark.parametrize("head", [prediction, matching, embedding])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_blocks_of_steps_are_the_steps_that_lightning_makes(head, precision, monkeypatch):
    """To the last bit: the same order of cells, masks, updates and rates. 23 steps are three blocks."""
    monkeypatch.setattr(resident, "BLOCK", 8)
    monkeypatch.setattr(predict_network, "DECAY_EVERY", 3)
    settings, states, losses = TrainerSettings(accelerator="cpu", precision=precision), [], []
    for blocks in (True, False):
        with seeded(3):
            module, cells = head(decay_start=-3)
            loader = DataLoader(cells, 4, shuffle=True)
            assert module.steps_on_device(cells, 4, settings, False) is None
            steps = on_host(module, loader, settings) if blocks else loader
            once = DataLoader([torch.arange(0, CELLS, 4)], batch_size=None)
            assert len(steps) == (-(-len(loader) // 8) if blocks else len(loader))
            report = train(module, steps, once, settings=settings, max_epochs=5)
        assert module.automatic_optimization
        states.append(module.state_dict())
        losses.append(report.history)
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def in_blocks(folder, steps=None):
    """A prediction module after 25 epochs in blocks; with ``steps``, killed after so many."""
    settings = TrainerSettings(accelerator="cpu", folder=folder, resume_every_seconds=0)
    with seeded(3):
        module, cells = prediction(decay_start=-15)
        loader = on_host(module, DataLoader(cells, 32, shuffle=True), settings)
        usual, left = module.after_step, iter(range(steps or 1000))
        module.after_step = lambda: usual() if next(left, None) is not None else _die()
        once = DataLoader([torch.arange(0, CELLS, 4)], batch_size=None)
        return train(module, loader, once, settings=settings, max_epochs=25), module.state_dict()


def test_blocks_go_on_where_they_were_killed(tmp_path):
    _, whole = in_blocks(None)
    with pytest.raises(RuntimeError, match="killed"):
        in_blocks(tmp_path, steps=50)
    report, resumed = in_blocks(tmp_path)
    assert report.resumed
    assert all(torch.equal(a, b) for a, b in zip(whole.values(), resumed.values(), strict=True))


CASES = [(prediction, {}), (prediction, {"whole": True}), (prediction, {"precision": "16-products"})]
CASES += [(prediction, {"precision": "bf16-mixed"}), (matching, {}), (embedding, {}), (regression, {})]


@gpu
@pytest.mark.parametrize(("head", "options"), CASES)
def test_captured_steps_are_the_launched_ones(head, options):
    captured, losses, _ = fitted(head, "cuda", epochs=8, **options)
    _, expected, _ = fitted(head, "cuda", capture=False, epochs=8, **options)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    assert losses[-1] < losses[0]
    again, same, _ = fitted(head, "cuda", epochs=8, **options)
    assert torch.equal(losses, same)
    for ours, theirs in zip(captured.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@gpu
def test_resume_on_the_device_goes_on_to_the_same_bytes(tmp_path):
    killed(tmp_path, "cuda")


@gpu
@pytest.mark.parametrize("head", HEADS)
def test_steps_are_captured(head, capsys):
    held = []
    own = DeviceSteps._captured
    try:
        DeviceSteps._captured = lambda self, length: held.append(own(self, length)) or held[-1]
        fitted(head, "cuda", epochs=8)
    finally:
        DeviceSteps._captured = own
    assert held
    assert all(held), capsys.readouterr().err


@gpu
def test_a_network_is_trained_on_cells_that_lie_on_the_device(monkeypatch):
    rng = np.random.default_rng(0)
    inputs = sp.random(300, 40, 0.3, "csr", np.float32, rng)
    targets = np.asarray(inputs[:, :4].toarray() + 1, np.float32)
    scores = []
    for room in (0.5, 0.0):  # of the card; without any the host makes the steps
        monkeypatch.setattr("scmobench.nn.dense.MOST_OF_CARD", room)
        with seeded(0):
            network = MLP(40, 4, [32])
        settings = Training(batch_size=64, max_epochs=60, learning_rate=1e-2)
        report = fit_network(network, inputs, targets, settings, held_out=np.arange(0, 300, 4), seed=0)
        assert report.device == "cuda"
        assert next(network.parameters()).device.type == "cpu"
        scores.append(report.best)
    assert scores[0] == pytest.approx(scores[1], rel=0.3)
    assert max(scores) < 0.2
