"""Fixtures: where the real data stands, and a paired set small enough for every test."""

import gc
import os
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the Makefile; with more threads a fork would hang

import anndata as ad
import pytest
from anndata import AnnData

import inspected
import yaml_once
from places import BROWSER, DRIVER, KIT, NO_BROWSER, ROOT
from planted import simulated
from scmobench.data import foreign
from scmobench.types import Paired

LONG = "test_fuzz.py", "test_readme.py", "test_launcher.py", "test_paper.py"


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{variable} is not set and {default.name} is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real dataset folders (`SCMOBENCH_DATA`)."""
    return _folder("SCMOBENCH_DATA", ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Predictions scored by the competition's own code (`SCMOBENCH_GOLDEN`)."""
    return _folder("SCMOBENCH_GOLDEN", ROOT.parent / "shared" / "golden")


@pytest.fixture(scope="session")
def starter_kit(golden_dir: Path) -> dict[str, AnnData]:
    """The starter kit's files of predict_modality by part; shared, so copy before changing."""
    parts = "train_mod1", "train_mod2", "test_mod1", "test_mod2"
    return {part: ad.read_h5ad(golden_dir / "predict_modality" / f"{KIT}.{part}.h5ad") for part in parts}


@pytest.fixture(scope="session")
def tiny_paired() -> Paired:
    """150 simulated cells, 120 genes and 20 proteins, checked; shared, so copy before changing."""
    return simulated("tiny_cite")


@pytest.fixture(scope="session")
def tiny_multiome() -> Paired:
    """150 simulated cells, 120 genes and about 200 peaks, checked; shared, so copy before changing."""
    return simulated("tiny_multiome")


@pytest.fixture
def tiny_parts(tiny_paired: Paired) -> dict[str, AnnData]:
    """The tiny set as the competition's files of prediction hold it."""
    train = tiny_paired.obs["is_train"].to_numpy()
    return {
        f"{side}_{which}": getattr(tiny_paired, which)[cells].copy()
        for side, cells in (("train", train), ("test", ~train))
        for which in ("mod1", "mod2")
    }


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    """YAML is parsed once, and files are inspected in forks (`data/test_foreign.py`: in processes)."""
    with pytest.MonkeyPatch.context() as patch:
        yaml_once.install(patch)
        patch.setattr(foreign, "subprocess", inspected.FORKED)
        if registry := sys.modules.get(
            "lightning.fabric.utilities.registry"
        ):  # it looks for plugins in each fit
            patch.setattr(registry, "entry_points", cache(registry.entry_points))
        yield


@pytest.fixture(scope="module")
def plain_umap() -> Iterator[None]:
    """Umap's own code in plain Python, with few epochs: compiling it takes 22 s, running it here 1 s."""
    import numba

    def taken() -> dict[str, ModuleType]:
        found = [name for name in sys.modules if name.partition(".")[0] in ("umap", "pynndescent")]
        return {name: sys.modules.pop(name) for name in found}

    before = taken()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "DISABLE_JIT", True)
        import umap
    umap.UMAP = partial(umap.UMAP, n_epochs=20)
    yield
    taken()
    sys.modules.update(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests begin first, so that no worker waits for another at the end.

    Tests marked ``gpu`` say why they do not run where there is no CUDA device.
    """
    import torch

    items.sort(key=lambda item: item.path.name not in LONG)
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu and not torch.cuda.is_available():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


def pytest_collection_finish() -> None:
    """What is imported by now stays, and need not be looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it loudly where the page could not be tried."""
    if not (BROWSER and DRIVER):
        terminalreporter.write_line(NO_BROWSER, yellow=True, bold=True)
