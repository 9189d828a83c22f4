"""Records: whole or absent, never overwritten by a failure, kept as lines that merge."""

import codecs
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

import scmobench as sb
from command_line import here
from sample_runs import render
from scmobench.experiment import kept, records, schema
from scmobench.leaderboard.roster import roster
from scmobench.machine import files
from scmobench.machine.memory import metered


def record(**changes: object) -> dict:
    base = {"status": "ok", "task": "predict_modality", "dataset": "d", "subtask": "GEX2ADT", "method": "m"}
    return (
        base
        | {"seed": 0, "direction": "from_gex", "config_hash": "abc", "data_hash": "def", "scores": {}}
        | changes
    )


def test_a_reader_never_meets_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    records.write_json(path, {"score": 1})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        records.write_json(path, {"score": 2})
    assert json.loads(path.read_text()) == {"score": 1}


WHOLE = {"interval": {}, "seconds": 1.0, "peak_memory_gb": 0.1, "validation": None, "parameters": None}
WHOLE |= {"transductive": False, "label_supervised": False, "protocol": "", "device": "cpu"}


def test_finished_needs_record_prediction_and_the_same_identity(tmp_path: Path) -> None:
    identity = {k: v for k, v in record(code="c").items() if k not in ("status", "scores")}
    whole = record(code="c", versions=records.versions()) | WHOLE
    where = records.folder(tmp_path, identity)
    assert records.finished(where, identity) is None
    records.write_record(where, whole)
    assert records.finished(where, identity) is None, "the prediction is missing"
    (where / records.PREDICTION).write_text("cut off")
    assert records.finished(where, identity) is None
    h5py.File(where / records.PREDICTION, "w").close()
    assert records.finished(where, identity)["method"] == "m"
    for key in ("data_hash", "code", "method", "dataset"):
        assert records.finished(where, identity | {key: "other"}) is None
    assert records.folder(tmp_path, identity | {"data_hash": "other"}) != where
    assert records.folder(tmp_path, identity | {"code": "other"}) == where
    lacking = {key: value for key, value in whole.items() if key != "seconds"}
    older = whole | {"versions": whole["versions"] | {"scmobench": "0.0.9"}}
    for unfit in (lacking, older, whole | {"status": "failed"}):
        records.write_record(where, unfit)
        assert records.finished(where, identity) is None


def test_kept_records_merge(tmp_path: Path) -> None:
    kept.keep([record(seed=1, seconds=1), record(seed=0)], tmp_path)
    (path,) = kept.keep([record(seed=1, seconds=2), record(seed=2)], tmp_path)
    found = kept.read([tmp_path])
    assert [r["seed"] for r in found] == [0, 1, 2]
    assert found[1]["seconds"] == 2
    assert path.name == "d.jsonl"
    before = path.read_bytes()
    kept.keep([record(seed=2)], tmp_path)
    assert path.read_bytes() == before


def test_the_last_attempt_is_kept_whatever_the_clock_said(tmp_path: Path, capsys) -> None:
    runs = [
        record(config_hash=c, attempt=n, finished=day) for c, n, day in (("aa", 2, "2031"), ("bb", 3, "2020"))
    ]
    kept.keep([*runs, record(config_hash="cc", finished="2040")], tmp_path)
    assert [r["config_hash"] for r in kept.read([tmp_path])] == ["bb"]
    assert "configuration aa (2031) is replaced by bb (2020)" in capsys.readouterr().out
    kept.keep([record(config_hash="dd", attempt=1, finished="1970")], tmp_path)
    assert [(r["config_hash"], r["attempt"]) for r in kept.read([tmp_path])] == [("dd", 4)], "it replaces"
    for _ in range(2):  # again and again, also with the attempt that gave way
        kept.keep(
            [record(config_hash="ee", attempt=1), record(config_hash="dd", attempt=2, finished="1970")],
            tmp_path,
        )
        assert [r["config_hash"] for r in kept.read([tmp_path])] == ["dd"]


def test_a_failure_counts_by_its_attempt_and_not_by_the_clock(tmp_path: Path) -> None:
    failed = record(
        status="failed", subtask="from_gex", data_hash=None, config_hash=None, message="no", finished="1970"
    )
    kept.keep([record(attempt=7, finished="2030")], tmp_path)
    kept.keep([failed | {"attempt": 1}], tmp_path)
    assert list(roster(kept.read([tmp_path]))["status"]) == ["failed", "ok"]
    kept.keep([record(attempt=1, finished="1960")], tmp_path)
    assert list(roster(kept.read([tmp_path]))["status"]) == ["ok"]


def test_a_run_counts_before_the_kept_one_whatever_their_attempts_as_it_does_once_it_is_kept(
    tmp_path: Path,
) -> None:
    old = record(attempt=7, finished="2030", scores={"rmse": {"value": 0.1, "reason": ""}})
    again = record(attempt=1, finished="2020", scores={"rmse": {"value": 0.2, "reason": ""}})
    kept.keep([old, old | {"seed": 1}], tmp_path / "kept")
    records.write_record(records.folder(tmp_path / "runs", again), again)
    runs = kept.read([tmp_path / "runs"])
    beside = [
        kept.read([tmp_path / one, tmp_path / other]) for one, other in (("runs", "kept"), ("kept", "runs"))
    ]
    kept.keep(runs, tmp_path / "kept")
    for found in (*beside, kept.read([tmp_path / "kept"])):
        assert [scores["rmse"]["value"] for scores in roster(found)["scores"]] == [0.2, 0.1]


def test_attempts_at_a_run_are_counted_over_settings_and_failures(tmp_path: Path) -> None:
    run = record(code="c")
    assert records.attempts(tmp_path, run) == 0
    records.write_record(records.folder(tmp_path, run), run | {"attempt": 3})
    assert records.attempts(tmp_path, run | {"config_hash": "other"}) == 3
    assert (
        records.attempts(tmp_path, run | {"seed": 1})
        == records.attempts(tmp_path, run | {"method": "n"})
        == 0
    )
    attempt = {k: run[k] for k in ("task", "dataset", "direction", "method", "seed")}
    records.write_failure(tmp_path, attempt, ValueError("no"))
    assert records.attempts(tmp_path, run) == 4


FOREIGN = ["../../away", "/absolute", "a/b", "..", "x" * 300, "a\nb", "lock", ".lock"]


def test_a_foreign_record_is_kept_inside_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "kept"
    names = [(name, "d") for name in FOREIGN] + [("predict_modality", name) for name in FOREIGN]
    kept.keep([record(task=task, dataset=dataset, method=dataset) for task, dataset in names], out)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["kept"]
    assert sorted((r["task"], r["dataset"]) for r in kept.read([out])) == sorted(names)


def test_two_processes_keep_without_losing_a_record(tmp_path: Path) -> None:
    code = "import sys; from scmobench.experiment import kept\n"
    code += f"run = {record(task='t')}\n"
    code += "for i in range(20): kept.keep([run | {'method': sys.argv[2], 'seed': i}], sys.argv[1])"
    both = [subprocess.Popen([sys.executable, "-c", code, tmp_path, name]) for name in "mn"]
    assert [process.wait(120) for process in both] == [0, 0]
    assert len(kept.read([tmp_path])) == 40
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [".lock", "d.jsonl"]


def test_seeds_that_are_text_are_kept_after_numbers(tmp_path: Path) -> None:
    kept.keep([record(seed=seed) for seed in ("oops", 10, 9)], tmp_path)
    assert [r["seed"] for r in kept.read([tmp_path])] == [9, 10, "oops"]
    assert list(roster(kept.read([tmp_path]))["seed"]) == [9, 10, "oops"]


def test_the_same_values_in_other_places_are_another_prediction() -> None:
    one, two = (AnnData(csr_matrix([[0, 1.0, 0], places])) for places in ([2.0, 0, 0], [0, 0, 2.0]))
    assert records.prediction_hash(one) == records.prediction_hash(one.copy())
    assert records.prediction_hash(one) != records.prediction_hash(two)


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"status": "ok"}'])
def test_a_damaged_record_blocks_no_other_and_is_named(
    tmp_path: Path, damaged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = record(prediction_hash="p", versions=records.versions())
    whole = known | {"seed": 1, "scores": {"rmse": {"value": 1, "reason": ""}}, "interval": {}}
    records.write_json(tmp_path / "seed-1" / records.RECORD, whole)
    broken = tmp_path / "seed-0\x1b[31m" / records.RECORD
    broken.parent.mkdir()
    broken.write_text(damaged)
    (broken.parent / records.PREDICTION).write_text("")
    assert records.finished(broken.parent, known) is None
    assert records.scores_of_same(tmp_path, known) == {"scores": whole["scores"], "interval": {}}
    elsewhere = known | {"versions": known["versions"] | {"processor": "another"}}
    assert known["versions"]["processor"]
    assert records.scores_of_same(tmp_path, elsewhere) is None
    assert [dict(found) for found in kept.read([tmp_path])] == [whole]
    told = capsys.readouterr().err
    assert rf"left out: {tmp_path}/seed-0\x1b[31m/{records.RECORD}, line 1: expected a record" in told


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(record()) + "\n{half")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2"):
        kept.read([tmp_path])
    with pytest.raises(FileNotFoundError, match="scmobench run model=knn dataset=mini_cite"):
        kept.read([tmp_path / "nowhere"])


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(folder: Path, onerror: Callable[[OSError], None], **_: bool) -> list:
        onerror(PermissionError(13, "Permission denied", str(folder / "closed")))
        return []

    monkeypatch.setattr(os, "walk", walk)  # root may read everything
    with pytest.raises(OSError, match=r"can be read, found .*Permission denied: '.*closed': allow it"):
        kept.read([tmp_path])


def test_a_linked_folder_of_runs_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / records.RECORD).write_bytes(raw())
    (tmp_path / "runs").mkdir()
    for name in ("one", "two"):
        (tmp_path / "runs" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "runs")
    assert len(kept.read([tmp_path / "runs"])) == 1


def raw(**changes: object) -> bytes:
    return json.dumps(record(**changes)).encode()


HUGE = int("9" * 400)
WRONG = {
    "empty": b"",
    "null": b"null",
    "not UTF-8": raw(method="caf\u00e9").replace(b"\\u00e9", b"\xe9"),
    "deep list": b'{"status": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep config": raw(config={"task": {"a": json.loads("[" * 50 + "]" * 50)}}),
    "huge": raw(message="x" * (schema.LARGEST + 1)),
    "many digits": raw().replace(b'"seed": 0', b'"seed": ' + b"9" * 5000),
    "half a surrogate": raw(method="\ud800"),
    **{f"{key} {value!r:.20}": raw(**{key: value}) for key, values in {
        "config": ["text", 1, [], {"task": "text"}, {"model": [1]}],
        "seed": [[0], {}, None, True, 1.5, float("nan"), HUGE],
        "scores": [[], "text", None, {"rmse": 1}, {"rmse": {"value": "1"}}, {"rmse": {"value": HUGE}},
                   {"rmse": {"value": 1e200}}, {"rmse": {"value": True}}, {"a": {"value": 1, "reason": 2}}],
        "interval": [[], {"rmse": 1}, {"rmse": [1]}, {"rmse": [1, None]}, {"rmse": [1, float("inf")]}],
        "dataset": [1, None, "", "  ", [], {}, "\n"],
        "task": [1, None, ""], "method": [1, None, ""], "subtask": [1, None, ""],
        "status": ["banana", 1, None], "message": [1], "kind": [1], "direction": [[]],
        "config_hash": [1, None], "data_hash": [1, None], "finished": [20260101], "protocol": [False],
        "seconds": ["1", True, 1e150], "peak_memory_gb": [[]], "parameters": [1.5, "1"], "n_train": [1.5],
        "transductive": ["no", 1], "label_supervised": [None.__class__.__name__], "versions": ["1"],
        "normalization": ["x", {"GEX": 1}, ["GEX"]], "attempt": ["1", 0.5], "report": ["text"],
    }.items() for value in values},
}  # fmt: skip


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_what_is_no_record_is_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "runs" / "seed-0" / records.RECORD
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (tmp_path / "kept.jsonl").write_bytes(raw(seed=5) + b"\n" + content.replace(b"\n", b" ") + b"\n" * 2)
    for where in (path, tmp_path / "kept.jsonl"):
        with pytest.raises(
            ValueError, match=r"expected a record of a run, found .*; delete it, and run"
        ) as told:
            list(kept.lines(where))
        assert len(str(told.value)) < 600
        assert "\n" not in str(told.value)
        assert str(where) in str(told.value) or where.suffix == ".jsonl"
    assert records.finished(path.parent, {}) is None
    path.unlink()  # what the message says
    assert kept.read([tmp_path / "runs"]) == []


RIGHT = [
    {"scores": {"rmse": {"value": v, "reason": "r"}}} for v in (1, 0.5, None, float("nan"), float("-inf"))
]
RIGHT += [
    {"seconds": None},
    {"seed": "x"},
    {"report": {"a": [1, {"b": None}]}},
    {"tuning": 5},
    {"config": None},
]


@pytest.mark.parametrize("changes", RIGHT)
def test_tables_are_made_of_every_record_that_is_read(tmp_path: Path, changes: dict) -> None:
    (tmp_path / records.RECORD).write_bytes(codecs.BOM_UTF8 + raw(**changes))  # as editors on Windows write
    (tmp_path / "more.jsonl").write_bytes(raw(seed=7, scores=RIGHT[0]["scores"]) + b"\n")
    tables = render(found := kept.read([tmp_path]))
    assert len(found) == 2
    assert set(tables) >= {"predict_modality.csv", "README.md", "index.html"}


def test_a_pipe_a_folder_and_a_broken_link_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / records.RECORD
    for make in (
        os.mkfifo,
        Path.mkdir,
        lambda p: p.symlink_to("nowhere"),
        lambda p: p.symlink_to("/dev/zero"),
    ):
        make(path)
        with pytest.raises(ValueError, match=r"record.json, line 1: expected .*, found no plain file"):
            list(kept.lines(path))
        assert kept.read([tmp_path]) == []
        assert records.finished(tmp_path, {}) is None
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_file_of_records_without_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.truncate(kept.LARGEST + 1)
    with pytest.raises(ValueError, match=r"a.jsonl, line 1: .*more than \d+ bytes"):
        kept.read([tmp_path])


def test_separators_inside_texts_part_no_lines(tmp_path: Path) -> None:
    text = json.dumps(record(method="a\u2028b\x85c"), ensure_ascii=False)
    (tmp_path / "a.jsonl").write_text(text + "\n", encoding="utf-8")
    assert [r["method"] for r in kept.read([tmp_path])] == ["a\u2028b\x85c"]


def test_a_record_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"found parameters '1.5', which is not a whole number: correct what report"
    ):
        records.write_record(tmp_path, record(parameters=1.5))
    assert not list(tmp_path.iterdir())
    records.write_record(tmp_path, record(parameters=np.int64(3), validation=np.float32(0.5)))
    assert [(r["parameters"], r["validation"]) for r in kept.read([tmp_path])] == [(3, 0.5)]


def test_a_failure_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "failed").write_text("in the way")
    attempt = {k: record()[k] for k in ("task", "dataset", "direction", "method", "seed")}
    told = records.write_failure(tmp_path, attempt, ValueError("x"))
    assert told.startswith("(no failed record of it could be written: ")
    (tmp_path / "failed").unlink()
    assert records.write_failure(tmp_path, attempt, ValueError("a file named \udcff")) == ""
    assert "udcff" in kept.read([tmp_path])[0]["message"]


def test_peak_memory_is_that_of_the_block() -> None:
    with metered() as big:
        block = bytearray(400_000_000)
        del block
    with metered() as small:
        pass
    assert big["seconds"] >= 0
    assert big["peak_memory_gb"] >= small["peak_memory_gb"]
    if Path("/proc/self/clear_refs").is_file():
        assert big["peak_memory_gb"] > small["peak_memory_gb"] + 0.3


def test_a_gpu_is_among_what_can_change_a_score(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "gpu" not in records.versions()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a card")
    assert records.versions()["gpu"] == "a card"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"interval": {"mae": [1, 2], "rmse": [2, 1]}},
            "interval.rmse from 2 to 1, whose ends are exchanged",
        ),
        ({"n_train": -1}, "n_train '-1', which is negative"),
        ({"n_test": -1}, "n_test '-1', which is negative"),
        ({"n_test_seen": -1}, "n_test_seen '-1', which is negative"),
        ({"seconds": -1e308}, "seconds '-1e+308', which is negative"),
        ({"peak_memory_gb": -0.5}, "peak_memory_gb '-0.5', which is negative"),
        (
            {"scores": {"mae": {"value": 1, "reason": ""}, "rmse": {"value": "1"}}},
            "scores.rmse.value '1', which is not a number or null",
        ),
        (
            {"scores": {"mae": {"value": 1}, "rmse": 7}},
            "scores.rmse '7', which is not a mapping with value and",
        ),
        ({"seconds": 1e150}, "seconds '1e+150', which is too large"),
    ],
)
def test_the_faulty_value_is_named_with_its_file(tmp_path: Path, changes: dict, told: str) -> None:
    (tmp_path / records.RECORD).write_bytes(raw(**changes))
    with pytest.raises(ValueError, match=r"record.json, line 1: expected a record") as error:
        list(kept.lines(tmp_path / records.RECORD))
    assert told in str(error.value)


def test_a_long_number_is_told_in_own_words() -> None:
    with pytest.raises(ValueError, match="a number of 5000 digits, expected at most 4000"):
        schema.parsed(WRONG["many digits"])


@pytest.mark.parametrize(
    ("value", "told"), [(-0.5, "-0.5, which is not from 0 to inf"), (1.5, "from -1 to 1")]
)
def test_a_score_out_of_its_bounds_is_named_and_left_out(tmp_path: Path, value: float, told: str) -> None:
    metric = "rmse" if value < 0 else "overall_pearson"
    path = tmp_path / "runs" / records.RECORD
    path.parent.mkdir()
    path.write_bytes(raw(scores={metric: {"value": value, "reason": ""}}))
    (tmp_path / "runs" / "b.jsonl").write_bytes(raw(scores={"rmse": {"value": 1.0, "reason": ""}}) + b"\n")
    done = here("leaderboard", "--records", "runs", "--out", "tables", cwd=tmp_path)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"left out: runs/record.json, line 1: expected a record of a run, found scores.{metric} of"
    )
    assert told in line
    (tmp_path / "runs" / "b.jsonl").write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=re.escape(told)):
        sb.leaderboard(tmp_path / "runs")


def test_a_score_that_rounds_to_its_bound_and_an_unknown_metric_are_read() -> None:
    scores = {"overall_pearson": {"value": 1 + 1e-8}, "rmse": {"value": None}, "my_metric": {"value": -3}}
    assert schema.parsed(raw(scores=scores))["scores"] == scores
    assert schema.parsed(raw(task="my_task", scores={"rmse": {"value": -3}}))


def test_a_score_without_value_and_reason_has_a_reason_in_the_table(tmp_path: Path) -> None:
    (tmp_path / records.RECORD).write_bytes(raw(scores={"rmse": {"value": float("nan"), "reason": ""}}))
    assert "no finite value" in render(kept.read([tmp_path]))["predict_modality.csv"]


@pytest.mark.parametrize(
    "method",
    ["<img src=x onerror=alert(1)>|x", "+", "[", " #", "a[b", "a+[c]", "\x1b[31mx", "a\nb", "'\"&", "=1+1"],
)
def test_a_strange_name_is_shown_escaped(tmp_path: Path, method: str) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    scores = {"rmse": {"value": 1.0, "reason": ""}}
    (runs / "a.jsonl").write_bytes(raw(method=method, scores=scores) + b"\n" + raw(scores=scores, seed=1))
    done = here("leaderboard", "--records", "runs", "--out", "tables", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for page in ("index.html", "README.md"):
        assert "<img src=x" not in (tmp_path / "tables" / page).read_text()
    assert not re.search("(^|,)[=+@]", (tmp_path / "tables" / "predict_modality.csv").read_text(), re.M)
