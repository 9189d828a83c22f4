"""RMSprop with a square root that every processor rounds alike."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

ALPHA, EPSILON = 0.99, 1e-8


class RMSprop(torch.optim.Optimizer):
    r"""Steps divided by the running root mean square of the gradient (Tieleman & Hinton 2012, lecture 6.5).

    .. math::
        v \leftarrow \alpha v + (1 - \alpha) g^2, \qquad
        \theta \leftarrow \theta - \eta \, g / (\sqrt{v} + \epsilon)

    The same as `torch.optim.RMSprop` without momentum, with its defaults. There some processors round the
    float32 root wrongly in the last bit. A float64 root that is wrong in its own last bit still gives the
    right float32.
    """

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step for all parameters that have a gradient; returns the value of ``closure``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["square_avg"] = torch.zeros_like(parameter)
                square = state["square_avg"]
                square.mul_(ALPHA).addcmul_(gradient, gradient, value=1 - ALPHA)
                root = square.double().sqrt().to(parameter.dtype).add_(EPSILON)
                parameter.addcdiv_(gradient, root, value=-group["lr"])
        return loss
