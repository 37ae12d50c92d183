# SPDX-License-Identifier: MIT
"""As many guests as a configuration may have."""
import pytest
from pytest_socle import OK


@pytest.mark.xdist_group("qemu-tcg")
@pytest.mark.parametrize("count, memory", [(80, "2G"), pytest.param(256, "4G", marks=pytest.mark.matrix)])
def test_many(socle, count, memory):
    """Each is started, and ends as it should; nothing in the manager or the kernel is there for fewer."""
    machine = socle.boot(socle.guest("many", multiboot="hello.elf", count=count, memory="2M"), "--memory", memory,
                         platform="qemu-tcg", timeout=600)
    assert machine.finish() == OK
    assert len(machine.guests) == count
    assert all(guest.end.how == "success" for guest in machine.guests.values())
    assert f"end status=0 ({count} guests ended as expected)" in machine.text
