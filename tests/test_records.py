"""Records: whole or absent, never overwritten by a failure, kept as lines that merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scmobench import records
from scmobench.roster import latest


def record(**changes: object) -> dict:
    base = {"status": "ok", "task": "predict_modality", "dataset": "d", "subtask": "GEX2ADT", "method": "m"}
    return base | {"seed": 0, "direction": "from_gex", "config_hash": "abc", "data_hash": "def"} | changes


def test_a_reader_never_meets_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    records.write_json(path, {"score": 1})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(records.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        records.write_json(path, {"score": 2})
    assert json.loads(path.read_text()) == {"score": 1}


def test_finished_needs_record_prediction_and_the_same_identity(tmp_path: Path) -> None:
    identity = record()
    del identity["status"]
    where = records.folder(tmp_path, identity)
    assert records.finished(where, identity) is None
    records.write_json(where / records.RECORD, identity | {"status": "ok", "versions": records.versions()})
    assert records.finished(where, identity) is None, "the prediction is missing"
    (where / records.PREDICTION).write_text("")
    assert records.finished(where, identity)["method"] == "m"
    assert records.finished(where, identity | {"data_hash": "other"}) is None
    assert records.folder(tmp_path, identity | {"data_hash": "other"}) != where
    records.write_json(
        where / records.RECORD, identity | {"status": "failed", "versions": records.versions()}
    )
    assert records.finished(where, identity) is None


def test_a_failure_is_recorded_and_cleared_by_success(tmp_path: Path) -> None:
    attempt = {k: v for k, v in record().items() if k not in ("status", "subtask")}
    records.write_failure(tmp_path, attempt, ValueError("too few cells"))
    (failed,) = records.read([tmp_path])
    assert failed["status"] == "failed"
    assert "too few cells" in failed["message"]
    records.clear_failure(tmp_path, record())
    assert records.read([tmp_path]) == []


def test_kept_records_merge(tmp_path: Path) -> None:
    records.keep([record(seed=1, score=1), record(seed=0)], tmp_path)
    (path,) = records.keep([record(seed=1, score=2), record(seed=2)], tmp_path)
    kept = records.read([tmp_path])
    assert [r["seed"] for r in kept] == [0, 1, 2]
    assert kept[1]["score"] == 2
    assert path.name == "d.jsonl"
    before = path.read_bytes()
    records.keep([record(seed=2)], tmp_path)
    assert path.read_bytes() == before


def test_of_several_configurations_the_last_finished_is_kept(tmp_path: Path, capsys) -> None:
    runs = [record(config_hash=c, finished=f"2026-01-0{day}") for c, day in (("aa", 2), ("bb", 3), ("cc", 1))]
    records.keep(runs, tmp_path)
    assert [r["config_hash"] for r in records.read([tmp_path])] == ["bb"]
    assert "configuration aa (2026-01-02) is replaced by bb (2026-01-03)" in capsys.readouterr().out
    records.keep([record(config_hash="dd", finished="2026-01-02")], tmp_path)
    assert [r["config_hash"] for r in records.read([tmp_path])] == ["bb"], "the kept one ended later"


def test_seeds_that_are_text_are_kept_after_numbers(tmp_path: Path) -> None:
    records.keep([record(seed=seed) for seed in ("oops", 10, 9)], tmp_path)
    assert [r["seed"] for r in records.read([tmp_path])] == [9, 10, "oops"]
    assert [r["seed"] for r in latest(records.read([tmp_path]))] == [9, 10, "oops"]


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"status": "ok"}'])
def test_a_damaged_record_blocks_no_other_and_is_named_in_tables(tmp_path: Path, damaged: str) -> None:
    known = record(prediction_hash="p", versions=records.versions())
    whole = known | {"seed": 1, "scores": {"rmse": 1}, "interval": {}}
    records.write_json(tmp_path / "seed-1" / records.RECORD, whole)
    (tmp_path / "seed-0").mkdir()
    broken = tmp_path / "seed-0" / records.RECORD
    broken.write_text(damaged)
    (tmp_path / "seed-0" / records.PREDICTION).write_text("")
    assert records.finished(tmp_path / "seed-0", known) is None
    assert records.scores_of_same(tmp_path, known) == {"scores": {"rmse": 1}, "interval": {}}
    elsewhere = known | {"versions": known["versions"] | {"processor": "another"}}
    assert known["versions"]["processor"]
    assert records.scores_of_same(tmp_path, elsewhere) is None
    with pytest.raises(ValueError, match=f"{broken}.*expected a record of a run"):
        records.read([tmp_path])


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(record()) + "\n{half")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2"):
        records.read([tmp_path])
    with pytest.raises(FileNotFoundError, match="make reproduce"):
        records.read([tmp_path / "nowhere"])


def test_peak_memory_is_that_of_the_block() -> None:
    with records.Meter() as big:
        block = bytearray(400_000_000)
        del block
    with records.Meter() as small:
        pass
    assert big.seconds >= 0
    assert big.peak_memory_gb >= small.peak_memory_gb
    if Path("/proc/self/clear_refs").is_file():
        assert big.peak_memory_gb > small.peak_memory_gb + 0.3
