"""Cells for the tests of matching and embedding."""

import pytest

from scmobench.data.synthetic import Synthetic
from scmobench.types import Paired


@pytest.fixture(scope="session")
def three_batches() -> Paired:
    """180 simulated cells, 80 genes and 20 proteins in three batches; the last is held out."""
    return Synthetic(
        name="three_batches",
        n_cells=180,
        n_genes=80,
        n_mod2=20,
        n_cell_types=4,
        n_batches=3,
        test_batches=("batch3",),
        empty_features="drop",
    ).load()
