"""Names of files made of any text, whole writes, and folders that are held and swept."""

import contextlib
import errno
import resource
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from scmobench.experiment import records
from scmobench.experiment.config import compose
from scmobench.experiment.plan import Plan
from scmobench.experiment.run import run
from scmobench.machine.files import TEMPORARY, checked_name, claimed, file_name, whole, writable

NASTY = [
    *("..", ".", "a/b", "a\\b", "/etc/passwd", "../../x", " a", "a ", "a.", ".a", "a\nb", "a\tb", "\x1b[2J"),
    *("Zürich", "细胞", "a_b", "a b", "A", "x" * 255, "x" * 256, "x" * 300, "x" * 299 + "y", "ü" * 200, "~"),
]
PLAIN = ["svd_linear", "scmognn+no_harmony[hidden=32,layers.GEX2ADT=[2,1]]", "synthetic_multiome+deep", "a.b"]


def test_names_make_names_that_stay_in_their_folder_and_never_meet(tmp_path: Path) -> None:
    made = [file_name(text, ".jsonl") for text in NASTY]
    made += [file_name(name.removesuffix(".jsonl"), ".jsonl") for name in made]
    assert len({name.lower() for name in made if name != "A.jsonl"}) >= len(NASTY)
    for text, name in zip(NASTY, made, strict=False):
        assert len(name.encode()) <= 255
        assert (tmp_path / name).resolve().parent == tmp_path.resolve(), text
        (tmp_path / name).write_text(text)
        assert name.isprintable()
    stored = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(stored.values()) == sorted(NASTY), "no two texts share a file"


def test_a_name_that_looks_shortened_is_no_other_texts_name() -> None:
    short = file_name("a/b")
    assert short.startswith("a_b~")
    assert file_name(short) != short


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_names_stay_as_they_are(text: str) -> None:
    assert file_name(text) == text
    identity = {"task": "t", "dataset": "d", "subtask": "GEX2ADT", "method": text, "seed": 3}
    where = records.folder("runs", identity | {"config_hash": "abc", "data_hash": "0123456789"})
    assert where == Path("runs") / "t" / "d" / "GEX2ADT" / text / "abc-01234567" / "seed-3"


@pytest.mark.parametrize("text", ["", "  ", "\n", None, 2, 1.5, True, ["a"]])
def test_what_is_no_name_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected dataset.name to be a text that is not empty, found"):
        checked_name("dataset.name", text)


def test_a_name_that_is_not_utf_8_asks_for_a_locale() -> None:
    with pytest.raises(
        ValueError, match=r"expected runs in UTF-8, found .*: set a locale such as LC_ALL=C.UTF-8"
    ):
        checked_name("runs", "r\udcc3\udcbcns")


def test_advice_for_a_number_as_a_name() -> None:
    with pytest.raises(ValueError, match=r"task.name='2'") as told:
        compose(["dataset=tiny_cite", "task.name=2"])
    compose(["dataset=tiny_cite", str(told.value).split('"')[1]])


@pytest.mark.parametrize("key", ["task.name", "dataset.name", "model.name", "variant", "ensemble.name"])
def test_an_empty_name_is_refused_wherever_it_stands(key: str) -> None:
    with pytest.raises(ValueError, match=f"expected {key} to be a text"):
        compose(["dataset=tiny_cite", f"{key}=''"])


def test_a_run_keeps_its_long_names_whole_and_its_folder_short(tmp_path: Path) -> None:
    name, method = "cells " * 60 + "cells", "knn[" + "k=1," * 90 + "]"
    cfg = compose(["dataset=tiny_cite", "model=mean", f"dataset.name='{name}'", f"runs={tmp_path}/runs"])
    record = run(Plan(cfg, method))
    assert (record["dataset"], record["method"]) == (name, method)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"], "nothing is written beside it"
    assert run(Plan(cfg, method))["skipped"]
    attempt = {k: record[k] for k in ("task", "dataset", "direction", "method", "seed")}
    assert records.write_failure(cfg.runs, attempt, ValueError("no")) == ""
    assert len(list((tmp_path / "runs" / "failed").rglob("record.json"))) == 1
    records.clear_failure(cfg.runs, record)
    assert not list((tmp_path / "runs" / "failed").rglob("record.json"))


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with whole(path) as partial:
        partial.write_text("old")
    for error in (ValueError("x"), KeyboardInterrupt()):
        with contextlib.suppress(ValueError, KeyboardInterrupt), whole(path) as partial:
            partial.write_text("half")
            raise error
    with (
        pytest.raises(OSError, match=r"expected to write .*file.txt, found a full disk: make room there"),
        whole(path),
    ):
        raise RuntimeError("a full\n disk")
    with pytest.raises(OSError, match=r"found Permission denied: write to another folder$"), whole(path):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_prediction_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path: Path, capfd) -> None:
    noise = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # as a full disk: the write fails
        with pytest.raises(OSError, match=r"expected to write .*File too large: raise the limit of") as told:
            records.write_prediction(tmp_path / "prediction.h5ad", ad.AnnData(noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == "", "HDF5 says nothing of its own"
    records.write_prediction(tmp_path / "prediction.h5ad", ad.AnnData(noise))  # after room was made
    assert (noise == ad.read_h5ad(tmp_path / "prediction.h5ad").X).all()


LEFT = [
    ".record.json.123",
    ".123.prediction.h5ad",
    ".77.partial",
    "d.partial",
    "resume.ckpt.part",
    "tmpab12cd_9",
]


def test_leftovers_of_killed_processes_go_when_the_folder_is_claimed(tmp_path: Path) -> None:
    kept = ["record.json", "prediction.h5ad", "training/metrics.csv", ".lock"]
    (tmp_path / "training").mkdir()
    for name in [*LEFT, *(f"training/{name}" for name in LEFT), *kept]:
        (tmp_path / name).write_text("")
    with claimed(tmp_path, "waiting"):
        found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == set(kept)


def test_a_claimed_folder_is_waited_for(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from scmobench.machine.files import claimed\n"
    code += "with claimed(Path(sys.argv[1]), 'waiting'): print('held')"
    with claimed(tmp_path, "waiting"):
        other = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == f"waiting: {tmp_path}\n"
        assert other.poll() is None
    assert other.communicate(timeout=60)[0] == "held\n"


def test_a_file_system_without_locks_is_named_and_so_is_who_holds_a_folder_there(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("4242\nnode17\n")  # of a process on another machine, perhaps killed
    code = """
import errno, fcntl, sys
from pathlib import Path
from scmobench.machine.files import claimed

def flock(*_): raise OSError(int(sys.argv[2]), "No locks available")

fcntl.flock = flock
with claimed(Path(sys.argv[1]), "waiting"): ...
"""
    lacks, waits = (
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, tmp_path, str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (errno.ENOLCK, errno.ENOSYS)
    )
    told = lacks.communicate(timeout=60)[0].splitlines()[-1]
    found = "found No locks available: use a folder on another one, for runs by runs=FOLDER"
    assert told == f"OSError: expected a file system with locks at {tmp_path}, {found}"
    advice = f"if it has ended, delete {tmp_path / '.lock'}"
    assert waits.stdout.readline() == f"waiting (process 4242 on node17; {advice}): {tmp_path}\n"
    (tmp_path / ".lock").unlink()
    assert waits.wait(60) == 0


def test_a_folder_that_cannot_be_written_ends_in_the_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"can be written at .*file/x, found .*; name another"):
        writable(tmp_path / "file" / "x", "name another")
    assert writable(tmp_path / "new", "") == tmp_path / "new"


def test_a_full_disk_is_told_before_a_run_begins(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # as a full disk: an empty file can be made
        with pytest.raises(OSError, match=r"can be written at .*File too large; name another"):
            writable(tmp_path, "name another")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_folder_of_temporary_files_is_told_with_its_variable(tmp_path: Path) -> None:
    file = tmp_path / f"{TEMPORARY}x" / "solution.h5ad"
    with pytest.raises(OSError, match=r"found full: make room there, or set TMPDIR to another"), whole(file):
        raise OSError(errno.ENOSPC, "full")
