# SPDX-License-Identifier: MIT
"""Guests that do things at random, beside one that checks its memory: the host stands, the neighbour is right. For a
moment in `make matrix`; `make chaos` takes minutes on each number of CPUs."""
import os

import pytest
from machine import OK, ROOT, run

SECONDS = int(os.environ.get("CHAOS_SECONDS") or 3)
SLOWDOWN = 40  # emulated time against the host's, on a busy host
# Bochs with several CPUs misplaces RIP and RSP at faults: guests end sooner there, and that is all.
PLACES = [("qemu-tcg", cpus) for cpus in (1, 2, 4, 8)] + [("bochs", cpus) for cpus in (1, 2)]
DIALOG = [(r"memcheck: (SUCCESS|FAILURE)", "isolation\n"), (r"socle: isolation: (ok|failed)", "quit\n")]


@pytest.mark.matrix
@pytest.mark.parametrize("platform, cpus", [
    pytest.param(platform, cpus, id=f"{platform}-{cpus}cpu", marks=pytest.mark.xdist_group(platform))
    for platform, cpus in PLACES])
def test_chaos(tmp_path, platform, cpus):
    """They end and start again as they like; the isolation report at the end is in order."""
    config = (ROOT / "tests/guest/chaos.conf").read_text(encoding="utf-8").replace("ms=3000", f"ms={SECONDS * 1000}")
    run(tmp_path, config, "--cpus", cpus, platform=platform, dialog=DIALOG,
        timeout=100 + SECONDS * (SLOWDOWN if platform == "bochs" else 3)).expect(
            OK, r"memcheck: SUCCESS", r"chaos: seed \d+, 4 CPUs", r"isolation: ok", r"end status=0 \(quit\)",
            never=("socle: panic:", "VMM got exception", "memcheck: FAILURE"))
