"""The short commands: what there is, in tables that fit a screen."""

import errno
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from command_line import here
from scmobench.cli import commands, main
from scmobench.cli.parser import EXAMPLES, parsed
from scmobench.experiment.config import compose, headlines, names
from scmobench.experiment.loader import conf_dir, one_line
from scmobench.types import TASKS, Paired


def test_help_of_a_run_is_short_and_its_examples_compose(tmp_path: Path) -> None:
    done = here("run", "--help", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 100
    examples = [re.split(r"   +", line.strip())[0].split()[2:] for line in lines if "  scmobench run" in line]
    assert len(examples) >= 5
    for example in examples:
        if "-m" not in example:
            compose([word for word in example if "mine.h5mu" not in word])


def test_a_terminal_that_knows_no_arrows_sees_the_tables_all_the_same(monkeypatch) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    main(["metrics"])
    assert "rmse" in printed.getvalue().decode("ascii")


def test_a_folder_that_was_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit, match=r"expected a folder to work in, found this one deleted: change"):
        main(["run", "model=mean", "dataset=tiny_cite"])


SLIPS = {
    "rum model=knn": "expected COMMAND to be one of run, models,",
    "score --task match --prediction a --solution b": "found 'match': did you mean match_modality?;",
    "data lst": "one of list, fetch, check, describe, export, found 'lst': did you mean list?;",
    "metrics embedding": "found 'embedding': did you mean joint_embedding?;",
    "score --task match_modality": "the following arguments are required: --prediction, --solution;",
    "models --all": "unrecognized arguments: --all;",
}


@pytest.mark.parametrize("typed", SLIPS)
def test_a_slip_is_told_in_one_line_with_the_command_that_helps(typed: str, tmp_path: Path) -> None:
    done = here(*typed.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert SLIPS[typed] in done.stderr
    assert len(done.stderr.splitlines()) == 1
    called = re.search(r"`scmobench (.*)` shows", done.stderr)[1].split()
    assert here(*called, cwd=tmp_path).stdout.startswith("usage: scmobench")


def test_no_command_at_all_shows_the_help(tmp_path: Path) -> None:
    assert here(cwd=tmp_path).stdout == here("--help", cwd=tmp_path).stdout


def test_every_help_has_examples_that_can_be_read(tmp_path: Path) -> None:
    commands = re.search(r"one of ([^;]*), found", here("nonesuch", cwd=tmp_path).stderr)[1].split(", ")
    assert {"run", *EXAMPLES} == {*commands}
    for text in EXAMPLES.values():
        assert max(map(len, text.splitlines())) <= 105
        for line in text.replace("\\\n  ", "").splitlines():
            parsed(shlex.split(re.split("   +", line)[0])[1:])


def test_models_lists_each_with_its_tasks_and_what_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("scmobench.experiment.config.find_spec", lambda name: None)
    rows = here("models", cwd=tmp_path).stdout.splitlines()[1:]
    assert sorted(row.split()[0] for row in rows) == names("model")
    row = {row.split()[0]: row for row in rows}
    assert "method   predict match embed" in row["scmognn"]
    assert "(totalvi needs scvi: in the checkout, pip install -e '.[scvi]')" in row["totalvi"]
    few = here("models", "match_modality", cwd=tmp_path).stdout
    assert "procrustes" in few
    assert "knn" not in few
    assert "match_probability" in here("metrics", "match_modality", cwd=tmp_path).stdout


def test_data_list_says_what_is_at_hand(tmp_path: Path) -> None:
    done = here("data", "list", cwd=tmp_path, SCMOBENCH_DATA="nowhere", SCMOBENCH_CACHE=str(tmp_path))
    row = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert sorted(row) == names("dataset")
    assert "yes" in row["tiny_cite"]
    assert "150 cells, 120 genes, 20 proteins" in row["tiny_cite"]
    assert "no: set SCMOBENCH_DATA" in row["pbmc10x_cite"]
    assert "no: data fetch" in row["neurips2021_cite_phase2"]
    assert "fetched when it is asked for" in row["mini_cite"]
    done = here("data", "list", "tiny_cite", cwd=tmp_path)
    assert done.stderr.endswith("found tiny_cite: see `data describe tiny_cite`\n")


def test_data_commands_know_a_data_set_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine/dataset").mkdir(parents=True)
    tiny = (conf_dir() / "dataset/tiny_cite.yaml").read_text().replace("name: tiny_cite", "name: lab")
    (tmp_path / "mine/dataset/lab.yaml").write_text(f"# Cells of our lab. Last year's.\n{tiny}")
    lost = "# Cells that were moved.\n_target_: scmobench.data.own.Own\nname: lost\nh5mu: lost.h5mu\n"
    (tmp_path / "mine/dataset/lost.yaml").write_text(lost)
    mine = ("--config-dir", "mine")
    listed = here("data", "list", *mine, cwd=tmp_path).stdout.splitlines()
    assert re.fullmatch(r"lab +yes +Cells of our lab", listed[-2])
    assert re.fullmatch(r"lost +no: give full paths +Cells that were moved", listed[-1])
    assert len(listed) == len(names("dataset")) + 3
    assert here("data", "check", "lab", *mine, cwd=tmp_path).stdout.startswith("lab: ok, sha256 a29a9995")
    assert '"name": "lab"' in here("data", "describe", "lab", "-cd", "mine", cwd=tmp_path).stdout
    assert here("data", "fetch", "lab", *mine, cwd=tmp_path).stdout.startswith("lab: nothing to fetch")
    assert here("data", "export", "lab", *mine, "--out", "cells", cwd=tmp_path).returncode == 0
    assert (tmp_path / "cells/solution.h5ad").is_file()
    assert "no dataset 'lab'" in here("data", "check", "lab", cwd=tmp_path).stderr
    (tmp_path / "other/dataset").mkdir(parents=True)
    (tmp_path / "other/dataset/odd.yaml").write_bytes(b"# \x89")
    told = here("data", "list", "--config-dir", "other", cwd=tmp_path).stderr
    assert "expected UTF-8 in other/dataset/odd.yaml" in told


def test_data_check_without_a_name_says_where_it_goes(tmp_path: Path) -> None:
    told = here("data", "check", "dataset.h5mu='my cells.h5mu'", cwd=tmp_path).stderr
    assert "expected a dataset after `data check`, found dataset.h5mu='my cells.h5mu': see" in told
    advised = shlex.split(told.split("for your own cells: ")[1])
    assert advised == ["scmobench", "data", "check", "own", "dataset.h5mu='my cells.h5mu'"]
    assert "expected a file at my cells.h5mu, found none" in here(*advised[1:], cwd=tmp_path).stderr


@pytest.mark.parametrize("group", ["model", "dataset", *(f"metric/{task}" for task in TASKS)])
def test_every_file_begins_with_what_it_is(group: str) -> None:
    most = 48 if group == "model" else 110  # what the page shows beside the name
    for name, words in headlines(group).items():
        assert 10 < len(words) <= most, name


def test_data_check_says_split_batches_and_labels(tmp_path: Path) -> None:
    told = here("data", "check", "tiny_cite", cwd=tmp_path).stdout
    assert told.startswith("tiny_cite: ok, sha256 a29a9995")
    assert "106 training, 44 test, 150 scored" in told
    assert "batch3 (44, test)" in told
    assert "cell_type (4 types)" in told


def test_a_closed_output_stops_nothing(tmp_path: Path) -> None:
    line = f"exec '{sys.executable}' -m scmobench run model=mean dataset=tiny_cite >&-"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "ended by SIGTERM"),
        (signal.SIGHUP, "ended by SIGHUP"),
    ],
)
def test_a_signal_ends_every_command_in_one_line(number, told, tmp_path: Path, monkeypatch) -> None:
    usual = {signal.SIGINT: signal.default_int_handler}
    usual |= dict.fromkeys(
        (signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL
    )  # also where the tests run below nohup
    before = {each: signal.signal(each, handler) for each, handler in usual.items()}
    monkeypatch.setattr(commands, "models", lambda _: os.kill(os.getpid(), number))
    try:
        done = here("models", cwd=tmp_path)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        after = here("models", cwd=tmp_path)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert done.returncode == 128 + number
    assert done.stderr == f"scmobench: {told}; what is finished stays, the same command makes the rest\n"
    assert after.returncode == (0 if number == signal.SIGHUP else done.returncode)


def test_a_command_runs_in_a_thread_too(capsys) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(main, ["models"]).result()
    assert "svd_linear" in capsys.readouterr().out


def test_a_command_draws_into_files_whatever_the_notebook_above_it_uses(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(commands, "models", lambda _: print(os.environ["MPLBACKEND"]))
    assert here("models", cwd=tmp_path, MPLBACKEND="bogus").stdout == "agg\n"


def test_python_without_docstrings_is_told_in_one_line(tmp_path: Path) -> None:
    line = [sys.executable, "-OO", "-m", "scmobench", "run", "--help"]
    told = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True).stderr
    found = "found -OO or PYTHONOPTIMIZE=2: leave it out"
    assert told == f"scmobench: expected docstrings, which anndata needs, {found}\n"


SYSTEM = {
    OSError(
        errno.ENOSPC, "No space left", "a"
    ): "room on the disk, found [Errno 28] No space left: 'a': make",
    PermissionError(
        errno.EACCES, "Denied", "a"
    ): "permission for this file or folder, found [Errno 13] Denied: 'a': ask its owner",
    FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"): "by TMPDIR=FOLDER",
    FileNotFoundError(errno.ENOENT, "No such file", "a"): "[Errno 2] No such file: 'a'",
}


@pytest.mark.parametrize("error", SYSTEM)
def test_what_the_system_refuses_is_told_with_what_to_do(error: OSError) -> None:
    assert SYSTEM[error] in one_line(error)


def test_warnings_of_libraries_reach_nobody(tmp_path: Path) -> None:
    """mudata's join of columns, as `mini_cite` is read, from Python as on the command line."""
    program = "import scmobench as sb; print(len(sb.load('mini_cite').obs))"
    for line in (["-c", program], ["-m", "scmobench", "data", "check", "mini_cite"]):
        done = subprocess.run([sys.executable, *line], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def donors(tiny_paired: Paired, tmp_path: Path) -> list[str]:
    """Arguments that check the tiny set as own cells, which have donors and types but no batch."""
    cells = tiny_paired.mod1.copy()
    cells.obs = pd.DataFrame({"donor": tiny_paired.obs["batch"], "ct": tiny_paired.obs["cell_type"]})
    cells.obs["number"] = np.arange(len(cells)).astype(str)
    cells.obs["part"] = np.where(cells.obs["number"] == "0", np.nan, np.arange(len(cells)) % 3)
    cells.write_h5ad(tmp_path / "gex.h5ad")
    tiny_paired.mod2.write_h5ad(tmp_path / "adt.h5ad")
    return ["data", "check", "dataset=own", "dataset.gex=gex.h5ad", "dataset.mod2=adt.h5ad"]


def test_own_cells_without_a_batch_are_told_what_could_be_one(donors: list[str], tmp_path: Path) -> None:
    told = here(*donors, cwd=tmp_path)
    line = "  batches   no batch column given: random split; columns that could be one: donor, ct, batch\n"
    assert line in told.stdout
    assert "all (" not in told.stdout
    told = here(*donors, "dataset.batch=donor", cwd=tmp_path)
    assert re.search(r"scored\n  batches   batch1 \(53\), batch2 \(53\), batch3 \(44, test\)\n", told.stdout)


def test_data_check_tells_a_split_across_batches_and_exchanged_modalities(
    donors: list[str], tmp_path: Path
) -> None:
    cells = ad.read_h5ad(tmp_path / "gex.h5ad")
    cells.obs["is_train"] = np.arange(150) % 3 > 0
    cells.write_h5ad(tmp_path / "gex.h5ad")
    told = here(*donors, "dataset.batch=donor", cwd=tmp_path).stdout
    assert "100 training, 50 test, 150 scored; some batches are on both sides, as is_train says\n" in told
    assert re.search(r"batches   batch1 \(\d+, \d+ test\), batch2 \(\d+, \d+ test\)", told)
    for name in ("gex", "adt"):
        cells = ad.read_h5ad(tmp_path / f"{name}.h5ad")
        del cells.var["feature_types"]
        cells.write_h5ad(tmp_path / f"{name}.h5ad")
    told = here(
        *donors[:3], "dataset.gex=adt.h5ad", "dataset.mod2=gex.h5ad", "dataset.kind=ADT", cwd=tmp_path
    )
    assert "20 GEX and 120 ADT features: more proteins than genes, are they exchanged?\n" in told.stdout


def test_a_batch_has_several_cells_and_own_cells_a_name(donors: list[str], tmp_path: Path) -> None:
    told = here(*donors, "dataset.batch=number", cwd=tmp_path).stderr
    assert "expected batches of several cells in column 'number', found 150 batches of 150 cells" in told
    told = here(*donors, "dataset.name=mini_cite", cwd=tmp_path).stderr
    assert "found 'mini_cite', the name of a shipped data set: give another as dataset.name=NAME\n" in told
    assert "mine: ok" in here(*donors, "dataset.name=mine", cwd=tmp_path).stdout


def test_one_file_as_both_modalities_is_refused(donors: list[str], tmp_path: Path) -> None:
    told = here(*donors[:-1], "dataset.mod2=./gex.h5ad", cwd=tmp_path).stderr
    assert "expected two files, found gex.h5ad as `gex` and as `mod2`" in told
    assert len(told.splitlines()) == 1


def test_no_control_character_reaches_the_terminal(donors: list[str], tmp_path: Path) -> None:
    cells = ad.read_h5ad(tmp_path / "gex.h5ad")
    cells.obs["donor"] = cells.obs["donor"].astype(str).replace("batch1", "A\n\x1b[31mx")
    cells.write_h5ad(tmp_path / "gex.h5ad")
    for more in (["dataset.batch=donor"], ["dataset.batch=donor", "dataset.test_batches=[qq]"]):
        done = here(*donors, *more, cwd=tmp_path)
        assert "\x1b" not in done.stdout + done.stderr
        assert "x1b[31mx" in done.stdout + done.stderr
    assert one_line(ValueError("a\x1b[31m\u202eb\r\x07")) == r"a\x1b[31m\u202eb \x07"
