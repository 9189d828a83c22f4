"""`make reproduce-paper`, to the last step: a real server has files of the official names and layout."""

import re
import shlex
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from places import ROOT
from sample_runs import PUBLISHED, run
from scmobench.cli import main
from scmobench.experiment import kept
from scmobench.leaderboard.published import paper, read_published
from scmobench.types import PROTOCOL

OFFICIAL = {kind: f"openproblems_bmmc_{kind}_phase2" for kind in ("cite", "multiome")}
SOLUTION = {"predict_modality": "test_mod2", "match_modality": "test_sol", "joint_embedding": "solution"}
QUICK = ("smoke=true", "seed=0")
FEW = {"cite": "[[],['ablation=batch_separated']]", "multiome": "[[],[]]"}  # members of each ensemble


def official_files(folder: Path) -> None:
    """Simulated cells under the official names."""
    for kind, start in OFFICIAL.items():
        for task, solution in SOLUTION.items():
            for direction, name in {"from_gex": "rna", "to_gex": "mod2"}.items():
                place = folder / task / f"{start}_{name}"
                options = {"task": task, "direction": direction, "out": str(place)}
                given = [f"--{key}={value}" for key, value in options.items()]
                main(["data", "export", f"tiny_{kind}", *given])
                for path in sorted(place.glob("*.h5ad")):
                    part = solution if path.stem == "solution" else path.stem
                    path.rename(place / f"{start}_{name}.censor_dataset.output_{part}.h5ad")


@pytest.fixture
def server(tmp_path: Path):
    official_files(tmp_path / "files")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "files")
    handler.log_message = lambda *_: None
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def test_the_whole_command(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCMOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCMOBENCH_COMPETITION_URL", server)
    monkeypatch.delenv("SCMOBENCH_COMPETITION", raising=False)
    told = subprocess.run(["make", "-n", "-C", ROOT, "reproduce-paper"], capture_output=True, text=True)
    lines = re.findall(r"-m scmobench (.+)", told.stdout)
    assert len(lines) == 13, told.stdout
    for line in lines:
        quick = [*QUICK] if line.startswith("run ") else []
        if "paper_predict" in line or "paper_ensemble" in line:
            quick.append("++model.predict_modality.pathway=null")
        if named := re.search("sweep=paper_ensemble_(cite|multiome)", line):
            quick.append(f"ensemble.members={FEW[named[1]]}")
        main([*shlex.split(line), *quick])
    printed = capsys.readouterr().out
    assert printed.count("not run") == len(paper([], read_published(PUBLISHED))), "these are quick settings"
    runs = [r | {"method": re.sub(r"\[.*", "", r["method"])} for r in kept.read([tmp_path / "runs"])]
    found = paper(runs, read_published(PUBLISHED))
    assert found["n"].min() >= 1
    assert "not run" not in set(found["verdict"])


def test_verdicts() -> None:
    def ours(*scores: float) -> list[dict]:
        about = {"dataset": "neurips2021_cite_phase2", "protocol": PROTOCOL}
        return [run("scmognn", score, seed, **about) for seed, score in enumerate(scores)]

    def said(*scores: float) -> str:
        table = paper(ours(*scores), read_published(PUBLISHED))
        single = (table["subtask"] == "GEX2ADT") & (table["method"] == "scMoGNN (single)")
        assert table.loc[single, "published"].item() == 0.3885
        assert set(table.loc[~single, "verdict"]) == {"not run"}
        return table.loc[single, "verdict"].item()

    assert said(0.3880, 0.3890, 0.3885) == "reproduced"
    assert said(0.3820, 0.3825, 0.3830) == "differs"
    assert said(0.3885) == "too few seeds"
    assert paper(ours(0.3885, 0.3886) and [], read_published(PUBLISHED))["n"].sum() == 0
    other = [r | {"protocol": ""} for r in ours(0.3885, 0.3886)]
    assert set(paper(other, read_published(PUBLISHED))["verdict"]) == {"not run"}


def test_overall_of_the_ensemble_takes_single_networks_to_gex() -> None:
    runs = []
    for subtask, score in {"GEX2ADT": 0.38, "ADT2GEX": 0.32, "GEX2ATAC": 0.18, "ATAC2GEX": 0.24}.items():
        dataset = f"neurips2021_{'cite' if 'ADT' in subtask else 'multiome'}_phase2"
        named = {"GEX2ADT": "scmognn+ensemble_competition", "GEX2ATAC": "scmognn+ensemble_seeds"}
        about = {"dataset": dataset, "protocol": PROTOCOL, "subtask": subtask}
        runs += [run(named.get(subtask, "scmognn"), score, seed, **about) for seed in (0, 1)]
    table = paper(runs, read_published(PUBLISHED)).set_index(["subtask", "method"])
    assert table.loc[("Overall", "scMoGNN (ensemble)"), "mean"] == pytest.approx(0.28)
    assert table.loc[("Overall", "scMoGNN (single)"), "verdict"] == "not run"
