"""The page of scaling is that of the committed rows, and extrapolated numbers are marked."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import scaling
from places import ROOT


def test_the_page_and_its_picture_are_current():
    assert (ROOT / "results" / "scaling.md").read_text() == scaling.page(), "python benchmarks/scaling.py"
    kept = (
        np.asarray(Image.open(file))
        for file in (ROOT / "results" / "scaling.webp", BytesIO(scaling.picture()))
    )
    first, second = (np.asarray(pixels, float) for pixels in kept)
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
    assert cells == ["1,000, CITE-seq", "10,000, CITE-seq", "81,241, CITE-seq", "62,501, Multiome"]
    peaks = scaling.measured("multiome")["peak_gb"]
    embedding = max(dict(peaks[f"{name} (joint_embedding)"])[62501] for name in ("scmognn", "metrics"))
    assert f", {embedding:.2g} GB |" in rows[-1]
    assert "ms and 3.2 GB" in scaling.gpu()


def test_steps_beyond_the_limits_are_named(tmp_path, monkeypatch):
    rows = tmp_path / "rows.csv"
    monkeypatch.setattr(scaling, "OUT", rows)
    header = "stage,method,kind,cells,features,status"
    rows.write_text(f"{header}\npredict_modality,jae,cite,81241,1,time limit\nload,,cite,81241,1,ok\n")
    assert (
        scaling.limits()
        == "Over 20 GB or 15 minutes: jae predict_modality of 81,241 cite cells (time limit)."
    )
