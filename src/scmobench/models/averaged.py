"""The report of networks that are trained one by one and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from scmobench.training.fit import FitReport, resumed


def averaged_report(
    networks: Sequence[nn.Module], fits: Sequence[FitReport], validation: float, notes: Sequence[str]
) -> dict[str, Any]:
    """`Model.report` of such networks: parameters of all, epochs of the longest training."""
    return {
        "validation": validation,
        "parameters": sum(p.numel() for network in networks for p in network.parameters()),
        "epochs": max((fit.epochs for fit in fits), default=0),
        "best_epoch": [fit.best_epoch for fit in fits],
        "device": fits[0].device if fits else "cpu",
        "notes": "; ".join(filter(None, [*notes, resumed(fits)])),
    }
