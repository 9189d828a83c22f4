"""The competition's file layout, put back together; and downloads that are checked before they are kept."""

import json
import zipfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from places import KIT
from scmobench.data.competition import Competition
from scmobench.data.mini_cite import MEMBER, MiniCite
from scmobench.experiment.config import build, compose


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SCMOBENCH_CACHE", str(folder))
    return folder


def write_parts(parts: dict[str, ad.AnnData], folder) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in parts.items():
        content.write_h5ad(folder / f"toy.censor_dataset.output_{part}.h5ad")


COUNTS = {"GEX": "counts", "ADT": "counts"}


def test_starter_kit_prediction_files(golden_dir, starter_kit, cache):
    source = Competition(name="kit", dataset=KIT, path=str(golden_dir / "predict_modality"))
    paired = source.load()
    assert paired.pair == ("GEX", "ADT")
    assert paired.organism == "human"
    assert (int(paired.obs["is_train"].sum()), len(paired.obs)) == (311, 600)
    assert dict(paired.normalization) == {"GEX": "scran_log1p", "ADT": "clr_kit"}
    truth = starter_kit["test_mod2"]
    mine = paired.mod2[truth.obs_names, truth.var_names]
    assert abs(mine.X - truth.X).max() == 0
    assert abs(mine.layers["counts"] - truth.layers["counts"]).max() == 0


def test_starter_kit_embedding_files(golden_dir, cache):
    where = {"dataset": KIT, "path": str(golden_dir / "joint_embedding"), "task": "joint_embedding"}
    paired = Competition(name="kit", test_batches=["s1d2"], **where).load()
    assert paired.obs["cell_type"].nunique() == 41
    assert paired.obs["pseudotime_order_ADT"].notna().sum() == 99
    assert (~paired.obs["is_train"]).sum() == 289


def test_kit_files_and_the_folder_dataset_agree(golden_dir, data_dir, cache, monkeypatch):
    monkeypatch.setenv("SCMOBENCH_DATA", str(data_dir))
    folder = build(compose(["dataset=neurips_bmmc_cite_starter_kit"]).dataset).load()
    files = Competition(name="kit", dataset=KIT, path=str(golden_dir / "predict_modality")).load()
    same = folder.mod1[files.mod1.obs_names, files.mod1.var_names]
    assert abs(same.X - files.mod1.X).max() == 0
    assert folder.normalization == files.normalization


def test_modalities_are_exchanged_where_mod1_is_not_gene_expression(tiny_paired, tiny_parts, tmp_path, cache):
    swapped = {
        part.replace("1", "x").replace("2", "1").replace("x", "2"): a for part, a in tiny_parts.items()
    }
    write_parts(swapped, tmp_path / "predict_modality" / "toy")
    paired = Competition(name="toy", dataset="toy", path=str(tmp_path), normalization=COUNTS).load()
    assert paired.pair == ("GEX", "ADT")
    assert "whose mod1 is ADT" in paired.source
    assert (paired.mod1[tiny_paired.obs.index].X != tiny_paired.mod1.X).nnz == 0


@pytest.mark.parametrize("by_matrix", [False, True])
def test_matching_files_are_paired_again(tiny_paired, tiny_parts, tmp_path, cache, by_matrix):
    parts = tiny_parts
    rng = np.random.default_rng(0)
    for side in ("train", "test"):
        n = parts[f"{side}_mod1"].n_obs
        ix = rng.permutation(n)
        shuffled = parts[f"{side}_mod2"][ix].copy()
        shuffled.obs_names = [f"cell_{i}" for i in range(n)]
        matrix = sp.csr_matrix((np.ones(n), (np.arange(n), np.argsort(ix))), shape=(n, n))
        uns = {} if by_matrix else {"pairing_ix": ix}
        obs = tiny_paired.obs.loc[parts[f"{side}_mod1"].obs_names, ["cell_type"]]
        parts[f"{side}_mod2"], parts[f"{side}_sol"] = shuffled, ad.AnnData(X=matrix, obs=obs, uns=uns)
    write_parts(parts, tmp_path)
    where = {"dataset": "toy", "path": str(tmp_path), "task": "match_modality"}
    paired = Competition(name="toy", normalization=COUNTS, **where).load()
    assert (paired.mod2[tiny_paired.obs.index].X != tiny_paired.mod2.X).nnz == 0
    labels = paired.obs.loc[tiny_paired.obs.index]
    assert labels["is_train"].equals(tiny_paired.obs["is_train"])
    assert labels["cell_type"].astype(str).equals(tiny_paired.obs["cell_type"].astype(str))
    write_parts({"train_sol": parts["train_sol"][::-1].copy()}, tmp_path)
    Competition(name="toy", normalization=COUNTS, **where).pins.unlink()
    told = (
        "cells of train_sol in train_mod1's order"
        if by_matrix
        else "train_sol at .* different ones in X and in uns"
    )
    with pytest.raises(ValueError, match=told):
        Competition(name="toy", normalization=COUNTS, **where).load()


@pytest.mark.parametrize("part", ["train_mod2", "test_mod1"])
def test_a_cell_that_is_there_twice_is_named_with_its_file(tiny_parts, tmp_path, cache, part):
    names = list(tiny_parts[part].obs_names)
    tiny_parts[part].obs_names = [names[1], *names[1:]]
    write_parts(tiny_parts, tmp_path)
    with pytest.raises(
        ValueError, match=rf"competition's {part} at .*found one with the cell {names[1]} twice"
    ):
        Competition(name="toy", dataset="toy", path=str(tmp_path), normalization=COUNTS).load()


def test_files_are_pinned_when_first_seen(tiny_parts, tmp_path, cache):
    write_parts(tiny_parts, tmp_path)
    source = Competition(name="toy", dataset="toy", path=str(tmp_path), normalization=COUNTS)
    source.load()
    assert set(json.loads(source.pins.read_text())) == {"train_mod1", "train_mod2", "test_mod1", "test_mod2"}
    source.load()
    other = tiny_parts["test_mod2"]
    other.X.data[0] += 1
    write_parts({"test_mod2": other}, tmp_path)
    before = source.pins.read_text()
    with pytest.raises(ValueError, match=r"test_mod2.h5ad is not the file first seen: .*delete "):
        source.load()
    assert source.pins.read_text() == before
    source.pins.unlink()
    source.load()


def test_missing_files(tmp_path, cache):
    with pytest.raises(FileNotFoundError, match=r"set dataset.path to the folder of the files"):
        Competition(name="toy", dataset="toy", path=str(tmp_path)).load()
    with pytest.raises(FileNotFoundError, match="SCMOBENCH_COMPETITION") as error:
        Competition(name="toy", dataset="toy").load()
    assert "data fetch" not in str(error.value), "there is no url"
    with pytest.raises(FileNotFoundError, match="scmobench data fetch toy"):
        Competition(name="toy", dataset="toy", url="https://nowhere").load()


def wheel_with(content: bytes, folder) -> None:
    """A wheel of the right name that pip accepts, with other content."""
    with zipfile.ZipFile(folder / "scmidas-0.3.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(MEMBER, content)
        wheel.writestr(
            "scmidas-0.3.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: scmidas\nVersion: 0.3.0\n"
        )
        wheel.writestr("scmidas-0.3.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("scmidas-0.3.0.dist-info/RECORD", "")


def test_wheel_with_a_wrong_hash_is_refused_and_not_kept(tmp_path, cache, monkeypatch):
    wheel_with(b"something else", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ValueError, match=r"not the expected file: sha256 24df81372d.* expected"):
        MiniCite(name="mini").fetch()
    assert not list(cache.rglob("*.h5mu")), "nothing is kept"


def test_no_network_says_where_to_put_the_file(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"save it as .*quickstart_pbmc_mosaic.h5mu"):
        MiniCite(name="mini").fetch()


def mini_cite() -> tuple[MiniCite, Path]:
    """The shipped configuration and its file, where there is a network."""
    source = build(compose(["dataset=mini_cite"]).dataset)
    try:
        return source, source.fetch()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_mini_cite_is_real_and_cached(monkeypatch):
    source, file = mini_cite()
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # from here on only the cache can serve it
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert source.fetch() == file
    paired = source.load()
    assert paired.mod1.shape == (800, 498)
    assert paired.mod2.shape == (800, 224)
    assert pd.crosstab(paired.obs["batch"], paired.obs["is_train"]).to_numpy().tolist() == [
        [0, 400],
        [400, 0],
    ]
    assert paired.hash == "4e4bc7acbd97ebb0e1d418cfa8727aec242192f2e88ebbae426607e303521e9f"


def test_damaged_cache_is_fetched_again(cache):
    source, file = mini_cite()
    good = file.read_bytes()
    file.write_bytes(good[:1000])
    assert source.fetch().read_bytes() == good
    assert {f.name for f in file.parent.iterdir()} == {file.name, ".lock"}
