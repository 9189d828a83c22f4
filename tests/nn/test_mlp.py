"""Fully connected networks and the mixture of layers."""

import numpy as np
import pytest
import torch

from scmobench.nn.mixer import LayerWeights
from scmobench.nn.mlp import MLP


def test_mlp_shapes_and_refusals():
    network = MLP(3, 2, [5, 4], dropout=[0.1, 0.2], batch_norm=True, output_activation="relu")
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Linear", "GELU", "BatchNorm1d", "Dropout"] * 2 + ["Linear", "ReLU"]
    assert network(torch.zeros(6, 3)).shape == (6, 2)
    assert [type(layer).__name__ for layer in MLP(3, 2).layers] == ["Linear"]
    with pytest.raises(ValueError, match="one dropout for each of 2"):
        MLP(3, 2, [5, 4], dropout=[0.1])


def test_layer_weights_mix():
    mixer = LayerWeights(3)
    states = torch.randn(3, 4, 2)
    torch.testing.assert_close(mixer(states), states.mean(dim=0))
    mixer.logits.data = torch.tensor([0.0, np.log(2.0), np.log(5.0)])
    torch.testing.assert_close(mixer(states), (states[0] + 2 * states[1] + 5 * states[2]) / 8)
