"""Cells for the tests of matching and embedding."""

import pytest

from planted import simulated
from scmobench.types import Paired


@pytest.fixture(scope="session")
def three_batches() -> Paired:
    """180 simulated cells, 80 genes and 20 proteins in three batches; the last is held out."""
    return simulated(n_cells=180, n_genes=80)
