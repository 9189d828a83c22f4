"""What Weights & Biases is told about a run, read back from its offline files."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import here
from scmobench.cli import main
from scmobench.experiment import kept, tracking

wandb = pytest.importorskip("wandb")

BLOCK, FULL, LAST = 1 << 15, 1, 4


def entries(log: bytes) -> Iterator[bytes]:
    """Entries of a log in LevelDB's format: blocks of 32 KiB, each piece after checksum, length and kind."""
    place, whole = 7, b""  # after the file's own header
    while place + 7 <= len(log):
        if BLOCK - place % BLOCK < 7:  # too short for another piece
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", log, place)
        whole += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            yield whole
            whole = b""


def stored(folder: Path) -> dict[str, list]:
    """Kind of record -> its records, of one offline run."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.rglob("run-*.wandb")
    found = {}
    for data in entries(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        found.setdefault(kind, []).append(getattr(record, kind))
    return found


def test_a_sweep_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    main(["run", "-m", "model=knn,scmognn", "dataset=tiny_cite", "smoke=true", "logger=wandb"])
    assert "kept offline; this sends it: wandb sync " in capsys.readouterr().out
    wandb.teardown()  # its service writes until it ends
    runs = kept.read([tmp_path / "runs"])
    assert len(runs) == 2
    for record in runs:
        (path,) = (p.parent for p in tmp_path.rglob("record.json") if f"/{record['method']}/" in str(p))
        found = stored(path)
        run = found["run"][0]
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        assert config["config_hash"] == record["config_hash"]
        assert config["command"] == record["command"]
        assert run.run_group == f"tiny_cite GEX2ADT {record['method']}"
        assert set(run.tags) == {"predict_modality", "tiny_cite", "GEX2ADT", record["method"]}
        summary = {i.key: json.loads(i.value_json) for part in found["summary"] for i in part.update}
        assert summary["rmse"] == record["scores"]["rmse"]["value"]
        assert summary["prediction_hash"] == record["prediction_hash"]
        steps = [{i.key or i.nested_key[0] for i in part.item} for part in found.get("history", [])]
        assert any("validation" in step for step in steps) == record["method"].startswith("scmognn")
    main(["run", "-m", "model=knn,scmognn", "dataset=tiny_cite", "smoke=true", "logger=wandb"])
    assert len(list(tmp_path.rglob("run-*.wandb"))) == 2, "a run is logged once"


def test_the_package_is_asked_for_before_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"pip install 'scmobench\[wandb\]'"):
        main(["run", "model=knn", "dataset=tiny_cite", "logger=wandb"])
    assert not list(tmp_path.rglob("prediction.h5ad"))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("wandb.project=[1]", "expected wandb.project to be text, found [1]"),
        ("wandb.project=3", "expected wandb.project to be text, found 3"),
        ("wandb.project={a:1}", "expected wandb.project to be text, found {'a': 1}"),
        ("wandb.project=a/b", "expected wandb.project without /, found 'a/b'"),
        ("wandb.mode=off", "expected wandb.mode to be one of offline, online, found 'off'"),
        ("+wandb.entity=[1]", "expected wandb.entity to be text or null, found [1]"),
        ("+wandb.tags=[a]", "found wandb.tags"),
        ("+wandb.nosuch=1", "found wandb.nosuch"),
    ],
)
def test_a_setting_that_wandb_does_not_take_is_refused_before_the_fit(
    override: str, told: str, tmp_path: Path
) -> None:
    done = here("run", "model=mean", "dataset=tiny_cite", "logger=wandb", override, cwd=tmp_path)
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("record.json"))


def test_settings_of_wandb_alone_log_offline(tmp_path: Path) -> None:
    done = here("run", "model=mean", "dataset=tiny_cite", "+wandb.project=x", cwd=tmp_path)
    assert "wandb: kept offline; this sends it: wandb sync " in done.stdout, done.stderr
