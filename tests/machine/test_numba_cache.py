"""numba's compiled code where folders cannot be written to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import scmobench
from scmobench.compiled import compiled
from scmobench.machine import numba_cache

NOWHERE = "/dev/null/below"  # a file's folder: not even root can make it


def given(monkeypatch: pytest.MonkeyPatch, *sources: Path, **variables: str) -> str:
    """NUMBA_CACHE_DIR after the check, where code stands in these folders; the user's is no folder."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in ({"HOME": NOWHERE} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(numba_cache, "_sources", lambda: list(sources))
    numba_cache.ensure_folder()
    return os.environ.get("NUMBA_CACHE_DIR", "")


def test_numba_is_given_a_folder_only_where_it_finds_none(monkeypatch, tmp_path):
    nowhere = Path(NOWHERE)
    assert given(monkeypatch, tmp_path) == ""
    assert given(monkeypatch, nowhere, HOME=str(tmp_path)) == ""
    assert given(monkeypatch, nowhere, XDG_CACHE_HOME=str(tmp_path)) == ""
    assert given(monkeypatch, nowhere, NUMBA_CACHE_DIR=str(tmp_path / "mine")) == str(tmp_path / "mine")
    for sources in ([nowhere], [tmp_path, nowhere]):
        folder = Path(given(monkeypatch, *sources))
        assert folder.stat().st_mode & 0o777 == 0o700, "only its owner writes there"
        shutil.rmtree(folder)
    assert Path(given(monkeypatch, nowhere, NUMBA_CACHE_DIR=NOWHERE)).is_dir()


def test_a_read_only_install_compiles_and_leaves_nothing(tmp_path):
    install, temporary = tmp_path / "install", tmp_path / "temporary"
    shutil.copytree(Path(scmobench.__file__).parent, install / "scmobench")
    temporary.mkdir()
    (install / "small.py").write_text(
        "import os\nimport scmobench\nimport numba\n\n\n"
        "@numba.njit('int64(int64)', cache=True)\ndef twice(x):\n    return 2 * x\n\n\n"
        "print(os.environ['NUMBA_CACHE_DIR'], twice._cache.cache_path, twice(4))\n"
    )
    command = f"mount --bind {install} {install} && mount -o remount,ro,bind {install} || exit 77; "
    command += f"exec {sys.executable} {install / 'small.py'}"
    environment = os.environ | {"HOME": NOWHERE, "TMPDIR": str(temporary), "PYTHONPATH": str(install)}
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    if not shutil.which("unshare"):
        pytest.skip("no mount of one's own: no unshare")
    line = ["unshare", "-m", "bash", "-c", command]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    if done.returncode == 77 or done.stderr.startswith("unshare"):
        pytest.skip(f"no mount of one's own: {done.stderr}")
    assert done.returncode == 0, done.stderr
    folder, used, eight = done.stdout.split()
    assert used.startswith(folder + os.sep)
    assert eight == "8"
    assert not list(temporary.glob("scmobench-numba-*"))


def test_clusters_are_compiled_also_where_nothing_can_be_kept(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "None")  # as where numba finds no folder

    @compiled("int64(int64)")
    def twice(x):
        return 2 * x

    assert twice(4) == 8
    assert twice._cache.cache_path is None
