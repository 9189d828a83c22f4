"""The benchmark of the full size, on few cells: a row for each step, measured once."""

import sys

import full_size
from places import ROOT


def test_each_step_has_a_row_and_is_measured_once(tmp_path, monkeypatch, capsys):
    out = tmp_path / "rows.csv"

    def measure(*more: str) -> tuple[dict, str]:
        given = ["--kinds", "cite", "--cells", "150", "--genes", "120", "--mod2", "20"]
        given += ["--folder", str(tmp_path), "--out", str(out), *more]
        monkeypatch.setattr(sys, "argv", ["full_size.py", *given])
        full_size.main()
        rows = full_size.read_rows(out).values()
        return {(row["stage"], row["method"]): row for row in rows}, capsys.readouterr().out

    rows, told = measure("--stages", "simulate")
    assert told.startswith("simulate  cite 150")
    found = rows["simulate", ""]
    assert (found["cells"], found["features"], found["status"]) == ("150", "120 20", "ok")
    assert float(found["cpu_seconds"]) > 0
    assert 0.05 < float(found["peak_gb"]) < 2
    assert 0.05 < float(found["filled"].split()[0]) < 0.2
    assert {row["status"] for key, row in rows.items() if key[0] != "simulate"} == {"not run"}
    assert not any(row["seconds"] for row in rows.values() if row["status"] == "not run")
    rows, told = measure("--stages", "simulate", "load", "--memory-gb", "0.01")
    assert told.startswith("load")  # the first is not repeated
    assert rows["load", ""]["status"] == "out of memory limit"
    assert rows["simulate", ""] == found
    rows, _ = measure("--stages", "load", "--again", "--minutes", "0.0001")
    assert rows["load", ""]["status"] == "time limit"


def test_each_committed_step_was_measured():
    rows = full_size.read_rows(ROOT / "results" / "speed" / "full_size.csv").values()
    assert {(row["kind"], row["cells"]) for row in rows} >= {("cite", "81241"), ("multiome", "62501")}
    for row in rows:
        assert row["status"] == "ok", row  # no measured row is lost again
        assert row["cpu_seconds"], row
        assert row["date"], row
