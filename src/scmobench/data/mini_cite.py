"""Real cells for everyone: a small PBMC CITE-seq set that ships inside a Python wheel."""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from scmobench.data.feature_types import with_feature_type
from scmobench.data.source import Source, cache_dir, cache_folder
from scmobench.machine.files import claimed, whole
from scmobench.types import Paired

WHEEL = "scmidas==0.3.0"
WHEEL_SHA256 = "24df81372decc6d3edf6c2481d7b0c58f4685386d2ac938564946916f1bd9522"
MEMBER = "scmidas/data/quickstart_pbmc_mosaic.h5mu"
PAIRED_BATCHES = ("p3_0", "p4_0")
MEMBER_SHA256 = "ba7e65819b77dca7cae0473043893a471920e25a07ee08bc91b3eb9fcc2e1cdd"


@dataclass(kw_only=True)
class MiniCite(Source):
    """800 PBMC with 498 genes and 224 proteins (raw counts), 400 cells a batch.

    pip downloads the wheel without its dependencies. The wheel is not installed or run: its hash is checked,
    and one data file is taken out. Two of the file's four batches are paired, ``p3_0`` (training) and
    ``p4_0`` (test); ``p1_0`` has only RNA and ``p2_0`` only proteins.
    """

    def fetch(self) -> Path:
        """The data file in the cache, downloaded once."""
        target = cache_dir() / "mini_cite" / Path(MEMBER).name
        if _is_cached(target):
            return target
        with claimed(cache_folder("mini_cite"), "another process downloads, waiting for it"):
            if not _is_cached(target):
                with tempfile.TemporaryDirectory() as folder:
                    wheel = _download(Path(folder), target)
                    self._expect(WHEEL_SHA256, wheel.read_bytes(), wheel.name)
                    content = zipfile.ZipFile(wheel).read(MEMBER)
                self._expect(MEMBER_SHA256, content, MEMBER)
                with whole(target) as partial:
                    partial.write_bytes(content)
        return target

    def at_hand(self) -> str:
        """Whether it is in the cache."""
        cached = (cache_dir() / "mini_cite" / Path(MEMBER).name).is_file()
        return "yes" if cached else "fetched when it is asked for"

    def _expect(self, expected: str, content: bytes, what: str) -> None:
        found = sha256(content).hexdigest()
        if found != expected:
            raise ValueError(
                f"{self.name}: {what} is not the expected file: sha256 {expected} expected, {found} found. "
                "Nothing was kept. The package index may serve another file: try the default one"
            )

    def read(self) -> Paired:
        """The paired cells of the file."""
        import mudata

        mosaic = mudata.read_h5mu(self.fetch())
        modalities = []
        for key, kind in (("rna", "GEX"), ("adt", "ADT")):
            modality = mosaic.mod[key]
            modality = modality[modality.obs["batch"].isin(PAIRED_BATCHES)].copy()
            modalities.append(with_feature_type(modality, kind, f"{self.name} {key}"))
        gex, adt = modalities
        obs = gex.obs.rename(columns={"celltype": "cell_type"})
        return self.pair(gex, adt, obs, {"GEX": "counts", "ADT": "counts"})


def _is_cached(file: Path) -> bool:
    return file.is_file() and sha256(file.read_bytes()).hexdigest() == MEMBER_SHA256


def _download(folder: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise FileNotFoundError(
            f"expected pip to download {WHEEL}, it said: {done.stderr.strip()[-500:]}. With no network, take "
            f"{MEMBER} out of that wheel on another computer and save it as {target}"
        )
    return wheels[0]
