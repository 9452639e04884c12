"Every truth and result that we have is read without a defect; one published truth has two."

import os
from pathlib import Path

import pytest

from celltrack.formats.ctc import check, read_ctc

GOLDEN, DATA = (Path(os.environ.get(name, name)) for name in ("CELLTRACK_GOLDEN", "CELLTRACK_DATA"))
pytestmark = pytest.mark.skipif(not (GOLDEN.is_dir() and DATA.is_dir()), reason="no real data")


def test_malformed_truth():
    found = check(GOLDEN / "malformed_gt_RFS_synthetic" / "01_GT")
    assert [(d.kind, d.track) for d in found] == [("end", 168), ("hole", 186)]


def test_every_other_folder():
    tables = [*GOLDEN.glob("*/*/*/man_track.txt"), *GOLDEN.glob("*/*/res_track.txt")]
    for table in tables:
        if "malformed" not in str(table):
            assert len(read_ctc(table.parent)) > 0


def test_known_numbers():
    assert check(DATA / "DIC-C2DH-HeLa" / "01_GT", images=DATA / "DIC-C2DH-HeLa" / "01") == []
    psc, hela = (read_ctc(DATA / name / "01_GT") for name in ("PhC-C2DL-PSC", "Fluo-N2DL-HeLa"))
    assert psc.labels.first == 150
    assert [len(psc.labels), len(psc), len(psc.divisions())] == [101, 621, 213]
    assert [len(hela.labels), len(hela), len(hela.divisions())] == [92, 265, 94]
