"""Fits that the machine cannot hold are refused before they start."""

import ctypes
import re
import resource

import numpy as np
import pytest
import torch

from command_line import here
from planted import side
from scmobench.machine import memory
from scmobench.models.scmognn import fit_memory
from scmobench.models.scmognn.fit_memory import FitMemory
from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction
from scmobench.types import PredictionData


@pytest.fixture
def data() -> PredictionData:
    rng = np.random.default_rng(0)
    genes, proteins = (side(rng.poisson(1.0, (40, n)), kind) for n, kind in ((8, "GEX"), (6, "ADT")))
    return PredictionData("tiny", "GEX2ADT", genes[:30].copy(), proteins[:30].copy(), genes[30:].copy())


def test_more_than_the_machine_holds_is_refused(data, monkeypatch):
    def fit(**changed):
        return ScMoGNNPrediction(hidden=16, layers=1, max_epochs=1, **changed).fit(data, 0)

    held = memory.held_gb()
    monkeypatch.setattr(memory, "machine_gb", lambda: held / 2)
    found = r"30 training cells and 10 test cells x 6 targets, \d+ edges of 8 features"
    message = rf"expected a fit within \d\S* GB.* found one .* about \d\S* GB \({found}\): use fewer cells"
    with pytest.raises(ValueError, match=message):
        fit()
    monkeypatch.undo()
    monkeypatch.setattr(memory, "held_gb", lambda: 1.0)

    def needed(batch_size: int | None) -> float:
        return FitMemory.of(data, 5, ScMoGNNPrediction(hidden=16, layers=1, batch_size=batch_size)).gb

    assert needed(4) < needed(None)
    monkeypatch.setattr(memory, "machine_gb", lambda: 1 + (needed(4) + needed(None)) / 2)
    fit(batch_size=4)
    monkeypatch.setattr(fit_memory, "BATCH", 4)
    with pytest.raises(ValueError, match=r"set model\.predict_modality\.batch_size=4$"):
        fit(batch_size=None)


def test_what_is_needed_is_more_than_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "held_gb", lambda: 0.0)
    monkeypatch.setattr(memory, "room_gb", lambda: 18.38)
    with pytest.raises(ValueError, match=r"within 18\.3 GB, .* about 18\.5 GB \(it\): smaller"):
        memory.check_memory(18.41, "it", lambda: "smaller")


def test_a_large_fit_says_first_what_it_needs(data, monkeypatch, capfd):
    def told() -> str:
        ScMoGNNPrediction(hidden=16, layers=1, max_epochs=1).fit(data, 0)
        return capfd.readouterr().err

    assert told() == ""
    monkeypatch.setattr(memory, "TOLD_GB", 0.01)
    assert re.fullmatch(r"this fit needs about \S+ GB of memory, \S+ GB are free\n", told())


def test_the_advice_for_too_many_edges_fits(tmp_path, monkeypatch):
    given = [
        "run",
        "model=scmognn",
        "dataset=synthetic_cite",
        "smoke=true",
        "dataset.n_genes=1200",
        "dataset.n_cells=400",
    ]
    sizes, whole = [], FitMemory.gb.fget
    monkeypatch.setattr(FitMemory, "gb", property(lambda self: sizes.append(whole(self)) or sizes[-1]))
    monkeypatch.setattr(memory, "fits", lambda more_gb: more_gb <= 0.6 * sizes[0])
    told = here(*given, cwd=tmp_path)
    advice = re.search(r"GB \(.*\): set (model\.predict_modality\.n_top_features=\d+)$", told.stderr.strip())
    assert advice, told
    assert told.returncode == 1
    told = here(*given, advice[1], cwd=tmp_path)
    assert told.returncode == 0, told


def test_memory_of_the_machine_or_of_its_container(tmp_path, monkeypatch):
    places = [tmp_path / "memory.max", tmp_path / "limit_in_bytes"]  # of either form of Linux
    monkeypatch.setattr(memory, "CGROUPS", places)
    whole = memory.machine_gb()
    assert 0.1 < whole < 1e5
    for place in places:
        for text, expected in (("max\n", whole), ("20000000\n", 0.02), (str(10**18), whole)):
            place.write_text(text)
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
        assert min(faults(2) for _ in range(10)) < 4_000  # a heap in pieces takes some steps
