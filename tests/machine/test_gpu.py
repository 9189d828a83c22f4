"""Without a driver there is no GPU, and PyTorch need not load; with one PyTorch decides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scmobench.machine import gpu

LOADED = """
import sys
import scmobench as sb
from scmobench.machine import gpu
gpu.DEVICES = {devices}
record = sb.run("svd_linear", "tiny_cite", task="predict_modality", seed=0).record
print("torch" in sys.modules, "gpu" in record["versions"])
"""


@pytest.mark.parametrize(("devices", "told"), [((), "False False"), (("/dev/null",), "True False")])
def test_pytorch_loads_for_a_linear_method_only_beside_a_driver(
    tmp_path: Path, devices: tuple[str], told: str
) -> None:
    code = LOADED.format(devices=devices)
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=hidden, cwd=tmp_path)
    assert run.stdout.splitlines()[-1] == told


def test_pytorch_decides_once_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "DEVICES", ())
    for found in (True, False):
        monkeypatch.setattr("torch.cuda.is_available", lambda found=found: found)
        assert (gpu.cuda() is torch.cuda) is found
