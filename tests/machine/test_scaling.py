"""The page of scaling is that of the committed rows, and extrapolated numbers are marked."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import scaling
from places import ROOT


def test_the_page_is_current():
    assert (ROOT / "results" / "scaling.md").read_text() == scaling.page(), "python benchmarks/scaling.py"


@pytest.mark.parametrize("kind", scaling.SHAPES)
def test_its_pictures_are_current(kind):
    files = ROOT / "results" / f"scaling_{kind}.webp", BytesIO(scaling.picture(kind))
    first, second = (np.asarray(Image.open(file), float) for file in files)
    assert first.shape == second.shape, "python benchmarks/scaling.py"
    assert np.abs(first - second).mean() < 1, "python benchmarks/scaling.py"  # of 255


def test_what_was_not_measured_is_marked_or_left_out():
    twice = [(1000, 2.0), (100_000, 200.0)]
    assert [scaling.cell(twice, n) for n in (1000, 5000, 1_000_000)] == ["2", "—", "*2,000*"]
    assert (
        scaling.cell([(1000, 2.0)], 1_000_000) == scaling.cell([(1000, 2.0), (9000, 20.0)], 1_000_000) == "—"
    )
    libraries = [(1000, 0.2), (101_000, 2.2)]  # of which a part is the same for any number of cells
    assert scaling.extrapolated(libraries, 1_001_000) == pytest.approx(20.2)


def test_each_size_tells_what_it_takes():
    rows = scaling.machine({kind: scaling.measured(kind) for kind in ("cite", "multiome")}).splitlines()[2:]
    cells = [row.split("|")[1].strip() for row in rows]
    sizes = {"CITE-seq": ("1,000", "10,000", "81,241"), "Multiome": ("1,000", "10,000", "62,501")}
    assert cells == [f"{n}, {kind}" for kind, numbers in sizes.items() for n in numbers]
    peaks = scaling.measured("multiome")["peak_gb"]
    embedding = max(dict(peaks[f"{name} (joint_embedding)"])[62501] for name in ("scmognn", "metrics"))
    assert f", {embedding:.2g} GB |" in rows[-1]
    assert "ms and 3.2 GB" in scaling.gpu()


def test_steps_beyond_the_limits_are_named(tmp_path, monkeypatch):
    rows = tmp_path / "rows.csv"
    monkeypatch.setattr(scaling, "OUT", rows)
    header = "stage,method,kind,cells,features,cpu_seconds,peak_gb,status"
    ended = ["predict_modality,jae,cite,81241,1,,,time limit", "load,,cite,81241,1,1,19.9,ok"]
    rows.write_text("\n".join([header, *ended, "a,knn,cite,9,1,901,1,ok", "lsi,,multiome,9,1,899,20.1,ok"]))
    told = "jae, 81,241 CITE-seq cells (time limit); knn, 9 CITE-seq cells (901 s); "
    told += "lsi, 9 Multiome cells (20.1 GB)"
    assert scaling.limits() == f"**More than 20 GB or 15 minutes** in the tables below: {told}."
