"""Fits that the machine cannot hold are refused before they start."""

from __future__ import annotations

import ctypes
import resource

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction
from scmobench.training import memory
from scmobench.types import PredictionData


@pytest.fixture
def data() -> PredictionData:
    def side(cells: int, features: int, kind: str) -> AnnData:
        X = sp.csr_matrix(np.random.default_rng(0).poisson(1.0, (cells, features)).astype(np.float32))
        obs = pd.DataFrame({"batch": "b"}, index=[f"c{i}" for i in range(cells)])
        return AnnData(
            X, obs, pd.DataFrame({"feature_types": kind}, index=[f"f{j}" for j in range(features)])
        )

    return PredictionData("tiny", "GEX2ADT", side(30, 8, "GEX"), side(30, 6, "ADT"), side(10, 8, "GEX"))


def test_more_than_the_machine_holds_is_refused(data, monkeypatch):
    def fit(**changed):
        return ScMoGNNPrediction(hidden=16, layers=1, max_epochs=1, **changed).fit(data, 0)

    monkeypatch.setattr(memory, "machine_gb", lambda: 1e-6)
    found = r"30 training cells and 10 test cells x 6 targets"
    message = rf"about \d\S* GB \({found}\), the machine has 1e-06 GB: use fewer"
    with pytest.raises(ValueError, match=message):
        fit()
    edges = data.train_mod1.X.nnz + data.test_mod1.X.nnz
    between = 24e-9 * edges + 4e-9 * 6 * (30 + 4 * 15)  # the two needs
    monkeypatch.setattr(memory, "machine_gb", lambda: between)
    fit(batch_size=16)
    with pytest.raises(ValueError, match="set batch_size"):
        fit(batch_size=None)


def test_memory_of_the_machine_or_of_its_container(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "memory.max")
    whole = memory.machine_gb()
    assert 0.1 < whole < 1e5
    for text, expected in (("max\n", whole), ("20000000\n", 0.02), (str(10**18), whole)):
        memory.CGROUP.write_text(text)
        assert memory.machine_gb() == expected


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone takes mallopt")
def test_memory_that_a_step_frees_is_there_for_the_next():
    def faults(steps: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(steps):
            blocks = [torch.ones(2_000_000) for _ in range(10)]  # 80 MB: 20,000 pages of 4 kB
            del blocks
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with memory.memory_kept():
        faults(2)
        assert faults(5) < 10_000
