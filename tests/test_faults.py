"""The table of deliberate faults is current; `make faults` puts them in."""

import pytest

from faults import FAULTS, ROOT, faulty, files_of


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_put_in(fault):
    compile(faulty(fault, ROOT), fault.file, "exec")
    assert len(files_of(fault, ROOT)) == len(fault.tests.split())


def test_names_of_faults_are_unlike():
    assert len({(fault.kind, fault.name) for fault in FAULTS}) == len(FAULTS)
