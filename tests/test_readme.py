"""Every code block of the README and the guide does what it says, in the order in which a reader meets it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest

from command_line import forget
from places import ROOT
from scmobench.cli import main
from scmobench.experiment import kept

BLOCK = re.compile(r"^```(bash|python|yaml)\n(.*?)^```", re.M | re.S)
TYPED_ONCE = ("git", "cd", "source")  # what makes the environment that these tests run in


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text())


def own_files(folder: Path) -> None:
    """What a reader has: own cells and own predictions. The committed records are found from anywhere."""
    draw = np.random.default_rng(0)
    cells = [f"cell_{number}" for number in range(60)]
    parts = {}
    for name, kind, width in (("rna", "Gene Expression", 30), ("prot", "Antibody Capture", 8)):
        part = anndata.AnnData(draw.poisson(3.0, (60, width)).astype(np.float32))
        part.obs_names, part.var_names = cells, [f"{name}_{number}" for number in range(width)]
        part.var["feature_types"] = kind
        parts[name] = part
    mine = mudata.MuData(parts)
    mine.obs["donor"] = ["a", "b", "c"] * 20
    mine.write(folder / "mine.h5mu")


def run_line(line: str, folder: Path) -> None:
    command, *arguments = shlex.split(line, comments=True)
    if command == "make":
        target = subprocess.run(["make", "-n", "-C", ROOT, *arguments], capture_output=True, text=True)
        assert target.returncode == 0, target.stderr
    elif command == "scmobench":
        if "--solution" in arguments:  # a stranger's method predicts the mean of the targets that it sees
            truth, seen = (
                anndata.read_h5ad(folder / "cells" / f"{n}.h5ad") for n in ("solution", "train_mod2")
            )
            truth.X = np.tile(seen.X.toarray().mean(axis=0), (truth.n_obs, 1))
            for name in ("mine.h5ad", "a.h5ad", "b.h5ad"):
                truth.write_h5ad(folder / name)
        main(arguments)
    else:
        assert command in TYPED_ONCE, f"expected a command that a test can run, found {line}"


def run_blocks(page: str, folder: Path) -> int:
    for language, text in blocks(page):
        if language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                run_line(line.replace("<this repository>", "here"), folder)
        elif first := re.match(r"(?:# @package \S+\n)?# (\S+\.(?:py|yaml))\n", text):
            path = folder / first[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        else:
            exec(text, {})
    return len(blocks(page))


@pytest.mark.usefixtures("plain_umap")
@pytest.mark.parametrize("page", ["README.md", "results/guide.md"])
def test_every_block_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    own_files(tmp_path)
    if page == "results/guide.md":
        main(["data", "export", "tiny_cite", "--out", "cells"])  # as the README says
    try:
        assert run_blocks(page, tmp_path) >= 2
    finally:
        forget(tmp_path)
    if page == "README.md":
        tables = (tmp_path / "runs" / "leaderboard" / "index.html").read_text()
        assert "my_ridge" in tables, "the reader's runs"
        assert 'id="predict_modality-pbmc10x_cite"' in tables, "beside ours"


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) < 9_000
    assert text.count("\n") < 180


def test_every_column_of_a_table_is_explained() -> None:
    page = (ROOT / "results" / "README.md").read_text().partition("## CSV columns")[2]
    explained = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", page))))
    assert set(pd.read_csv(ROOT / "results" / "leaderboard" / "predict_modality.csv", nrows=0)) <= explained


def test_every_kept_row_has_all_that_the_page_explains() -> None:
    """All are portable, and each says with what code, packages and command it was made."""
    assert "All rows were made in portable arithmetic" in (ROOT / "results" / "README.md").read_text()
    found = kept.read([ROOT / "results" / "records"])
    assert {run["arithmetic"] for run in found} == {"portable"}
    for key in ("code", "versions", "device", "threads", "command", "commit", "attempt", "prediction_hash"):
        assert all(run[key] for run in found), key


def leads(task: str, metric: str, method: str, supervised: bool = False, of: str = "") -> tuple[int, int]:
    """On how many data sets and directions (``of`` a modality) a method leads, and is tested."""
    table = pd.read_csv(ROOT / "results" / "leaderboard" / f"{task}.csv")
    own = table[(table["method"] == method) & (table["metric"] == metric) & (table["subtask"] != "Overall")]
    # simulated sets of other depth and the like have few methods
    own = own[~own["dataset"].str.contains("+", regex=False)]
    own = own[own["subtask"].str.contains(of)]
    own = own[own["gap"].notna() | ((own["group"] == 1) & (own["evidence"] != "untested"))]
    assert (own["label_supervised"] == supervised).all()
    return int((own["group"] == 1).sum()), len(own)


def level() -> tuple[int, int]:
    """On how many data sets and directions of matching all methods lead."""
    table = pd.read_csv(ROOT / "results" / "leaderboard" / "match_modality.csv")
    ranked = table[
        table["rank"].notna() & (table["metric"] == "match_probability") & (table["subtask"] != "Overall")
    ]
    ranks = ranked[~ranked["dataset"].str.contains("+", regex=False)].groupby(["dataset", "subtask"])["rank"]
    return int((ranks.max() == 1).sum()), ranks.ngroups


def one_modality() -> tuple[int, int]:
    """On how many data sets the better single modality has a better mean than most methods."""
    table = pd.read_csv(ROOT / "results" / "leaderboard" / "joint_embedding.csv")
    table = table[(table["metric"] == "mean") & ~table["dataset"].str.contains("+", regex=False)]
    methods, single = table[table["rank"].notna()], table[table["method"].isin(("gex_only", "mod2_only"))]
    best = single.groupby("dataset")["mean"].max()
    worse = (methods["mean"] < methods["dataset"].map(best)).groupby(methods["dataset"]).mean()
    return int((worse > 0.5).sum()), len(worse)


def test_the_result_is_that_of_the_tables() -> None:
    told = (ROOT / "README.md").read_text().partition("**Result:**")[2].partition("<picture>")[0]
    found = [(int(a), int(b)) for a, b in re.findall(r"(\d+) of (\d+)", told)]
    assert found == [
        leads("predict_modality", "rmse", "ensemble_unlike"),
        leads("predict_modality", "rmse", "ensemble_unlike", of="ADT"),
        leads("predict_modality", "rmse", "scmognn+ensemble_seeds"),
        leads("predict_modality", "rmse", "scmognn"),
        leads("match_modality", "match_probability", "scmognn+ensemble_seeds"),
        leads("match_modality", "match_probability", "scmognn"),
        level(),
        leads("joint_embedding", "mean", "scmognn", supervised=True),
        one_modality(),
    ]


def best_single() -> tuple[int, int]:
    """On how many data sets and directions of CITE-seq ls_lab has the best mean of the single methods."""
    table = pd.read_csv(ROOT / "results" / "leaderboard" / "predict_modality.csv")
    table = table[(table["metric"] == "rmse") & table["subtask"].str.contains("ADT") & table["rank"].notna()]
    single = table[(table["kind"] == "method") & ~table["variant"] & ~table["dataset"].str.contains(r"\+")]
    best = single.loc[single.groupby(["dataset", "subtask"])["mean"].idxmin(), "method"]
    return int((best == "ls_lab").sum()), len(best)


def test_the_advice_is_that_of_the_tables() -> None:
    told = (ROOT / "results" / "findings.md").read_text()
    told = told.partition("## Which method?")[2].partition("A *problem*")[0]
    found = [(int(a), int(b)) for a, b in re.findall(r"(\d+) of (\d+)", told)]
    assert found == [
        leads("predict_modality", "rmse", "ensemble_unlike", of="ADT"),
        best_single(),
        leads("predict_modality", "rmse", "ls_lab", of="ADT"),
        leads("predict_modality", "rmse", "ensemble_unlike", of="ATAC"),
        leads("match_modality", "match_probability", "scmognn+ensemble_seeds"),
        level(),
        leads("joint_embedding", "mean", "lsl_ae"),
        leads("joint_embedding", "mean", "guanlab_svd"),
        leads("joint_embedding", "mean", "scmognn+ensemble_seeds", supervised=True),
    ]


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "results").glob("*.md")):
        for link in re.findall(r"(?:\]\(|src(?:set)?=\")([^)\"#]+)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
        for link, place in re.findall(r"\]\(([\w./]*)#([^)]+)\)", page.read_text()):
            heads = re.findall(r"^#+ (.+)$", (page.parent / link if link else page).read_text(), re.M)
            anchors = [re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads]
            assert place in anchors, f"{page.name}: {link}#{place}"
