"""`make reproduce-paper` says what it costs before it starts."""

import json
import re
import subprocess
import sys

import pytest

import paper_cost
from places import ROOT

SPEED = ROOT / "results" / "speed"


def total(lines: list[str]) -> list[float]:
    """Least and most hours of prediction in all."""
    (line,) = (line for line in lines if "in all" in line)
    return [float(number.replace(",", "")) for number in re.findall(r"[\d,.]+(?= to| h)", line)]


def test_it_comes_first_and_says_hours_memory_and_disk():
    made = subprocess.run(["make", "-n", "-C", ROOT, "reproduce-paper"], capture_output=True, text=True)
    told = made.stdout
    assert 0 < told.find("benchmarks/paper_cost.py") < told.find("data fetch")
    command = [sys.executable, ROOT / "benchmarks" / "paper_cost.py", "--device", "cpu"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(
        word in told for word in (" h (extrapolated)", "memory: ", "disk: ", "free here", "CPU threads")
    )


def test_hours_follow_the_measured_step_of_the_device(tmp_path):
    assert total(paper_cost.lines(True))[1] < total(paper_cost.lines(False))[1] / 20
    assert "H100" in paper_cost.lines(True)[0]
    for name in ("gpu.json", "training_step_scaling.json"):
        (tmp_path / name).write_text((SPEED / name).read_text())
    slow = json.loads((tmp_path / "training_step_scaling.json").read_text())
    for sizes in slow.values():
        sizes["fused"]["seconds_median"] *= 3
    (tmp_path / "training_step_scaling.json").write_text(json.dumps(slow))
    assert total(paper_cost.lines(False, tmp_path)) == pytest.approx(
        [3 * h for h in total(paper_cost.lines(False))], rel=0.01
    )


def test_memory_and_epochs_are_those_that_were_measured(tmp_path):
    assert "not measured" in paper_cost.host_memory(tmp_path)
    assert paper_cost.other_tasks(tmp_path).count("not measured") == 2
    rows = [
        "stage,method,kind,cells,cpu_seconds,peak_gb,status",
        "load,,cite,81241,3,4.5,ok",
        "graph,,cite,81241,10.6,7.25,ok",
        "lsi,,cite,81241,,,not run",
        "predict_modality,knn,cite,20000,3,9,ok",
        'match_modality,"scmognn, published",cite,81241,163.2,5.1,ok',
    ]
    (tmp_path / "full_size.csv").write_text("\n".join(rows))
    assert paper_cost.host_memory(tmp_path).startswith("7.2 GB is the highest measured at full size (graph)")
    assert "match_modality 20 runs, first epoch and its inputs on one CPU thread: 163 s (cite)" in (
        paper_cost.other_tasks(tmp_path)
    )
