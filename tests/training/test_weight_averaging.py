"""The mean of the parameters over the steps: its recursion, and that it is what validates and predicts."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from planted import side
from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction
from scmobench.models.scmognn.predict_network import PredictModule
from scmobench.training.fit import TrainerSettings
from scmobench.training.weight_averaging import MeanNetwork
from scmobench.types import PredictionData


def mean_of(steps: list[torch.Tensor], decay: float) -> torch.Tensor:
    """The recursion, number by number: the first step as it is, then less and less of each further one."""
    mean = steps[0].double()
    for n, step in enumerate(steps[1:], 1):
        now = min(decay, (1 + n) / (10 + n))
        mean = now * mean + (1 - now) * step.double()
    return mean


def test_the_mean_follows_its_recursion():
    network = nn.Linear(3, 2)
    mean, steps = MeanNetwork(network, 0.9), []
    for _ in range(20):
        with torch.no_grad():
            network.weight.normal_()
        steps.append(network.weight.detach().clone())
        mean.follow(network)
    torch.testing.assert_close(mean.module.weight.double(), mean_of(steps, 0.9), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mean.module.bias, network.bias)


def test_statistics_of_batches_are_the_networks_own():
    network = nn.BatchNorm1d(2)
    mean = MeanNetwork(network, 0.9)
    for scale in (1.0, 5.0):
        network(scale * torch.randn(8, 2))
        mean.follow(network)
    assert torch.equal(mean.module.running_var, network.running_var)


def test_the_mean_is_that_of_pytorch_to_the_last_bit():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

    def move(means, parameters, steps):
        torch._foreach_lerp_(means, parameters, 1 - min(0.5, (1 + float(steps)) / (10 + float(steps))))

    ours, theirs = MeanNetwork(network, 0.5), AveragedModel(network, multi_avg_fn=move)
    for _ in range(12):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network(torch.randn(8, 3))
        ours.follow(network)
        theirs.update_parameters(network)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.gpu
def test_the_mean_on_a_gpu_is_that_on_the_cpu():
    network = nn.Linear(3, 2)
    there = copy.deepcopy(network).cuda()
    ours, theirs = MeanNetwork(network, 0.5), MeanNetwork(there, 0.5).cuda()
    for _ in range(12):
        with torch.no_grad():
            network.weight.normal_()
            there.weight.copy_(network.weight)
        ours.follow(network)
        theirs.follow(there)
    torch.testing.assert_close(ours.module.weight, theirs.module.weight.cpu())


@pytest.fixture(scope="module")
def data() -> PredictionData:
    rng = np.random.default_rng(0)
    inputs, targets = rng.poisson(0.5, (60, 12)), rng.random((60, 3))
    genes, proteins = side(inputs, "GEX"), side(targets, "ADT")
    return PredictionData("d", "GEX2ADT", genes[:45].copy(), proteins[:45].copy(), genes[45:].copy())


def model(**changed) -> ScMoGNNPrediction:
    settings = {"hidden": 8, "layers": 2, "max_epochs": 9, "dropout": 0.3, "weight_averaging": 0.6}
    return ScMoGNNPrediction(**settings | changed)


def test_the_mean_of_the_best_epoch_validates_and_predicts(data, monkeypatch):
    states, usual = [], PredictModule.after_step

    def watched(self):
        states.append({name: value.detach().clone() for name, value in self.network.named_parameters()})
        usual(self)

    monkeypatch.setattr(PredictModule, "after_step", watched)
    fitted = model().fit(data, 0)
    assert len(states) == 9  # a step an epoch
    until = states[: fitted.fitted.best_epoch + 1]
    for name, value in fitted.module.network.named_parameters():
        expected = mean_of([state[name] for state in until], 0.6).float()
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    held_out = fitted.module.held_out
    with torch.no_grad():
        graph = fitted._graph(data).tensors()
        predicted = fitted.module.network(graph, held_out).clamp(min=0)
    truth = torch.from_numpy(data.train_mod2.X.toarray())[held_out]
    error = float((predicted - truth).square().mean().sqrt())
    assert error == pytest.approx(fitted.report()["validation"], rel=1e-5)


def test_a_killed_training_goes_on_with_its_mean(data, tmp_path, monkeypatch):
    whole = model().fit(data, 0).predict(data)
    usual = PredictModule.training_step

    def killed(self, batch, number):
        if self.current_epoch == 5:
            raise SystemError("killed")
        return usual(self, batch, number)

    trainer = TrainerSettings(folder=tmp_path, resume_every_seconds=0)
    with monkeypatch.context() as patch:
        patch.setattr(PredictModule, "training_step", killed)
        with pytest.raises(SystemError):
            model(trainer=trainer).fit(data, 0)
    resumed = model(trainer=trainer).fit(data, 0)
    assert resumed.fitted.resumed
    assert resumed.predict(data).tobytes() == whole.tobytes()
