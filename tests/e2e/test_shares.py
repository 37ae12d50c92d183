# SPDX-License-Identifier: MIT
"""Load: what guests get of CPUs that are too few, by their own count and by the scheduler's."""
import re

import pytest
from machine import HASWELL, OK, ROOT, SKYLAKE, run

PLACES = [(SKYLAKE, 4, 16)] + [pytest.param(*place, marks=pytest.mark.matrix)
                               for place in ((SKYLAKE, 4, 3), (SKYLAKE, 2, 16), (HASWELL, 4, 16))]
SLICE_US = 5000
NAMES = "abcde"


def had(result, name):
    """What a guest says it had of its CPUs: {window of the clock: us}. An emulator's CPUs need not be equally fast."""
    pattern = rf"\[{name}\] share: window \d+ of clock (\d+): \d+ done in (\d+) us"
    return {int(m[1]): int(m[2]) for m in re.finditer(pattern, result.text)}


def looks(result):
    """Each time that `shares` was asked for: [{guest: (run, most behind) in us}]."""
    found = []
    for line in result.lines(r"^socle:   \w+ +\d+ cpus ran"):
        m = re.match(r"socle:   (\w+) +\d+ cpus ran (\d+) us, .* behind by (\d+) us", line)
        if not found or m[1] in found[-1]:
            found.append({})
        found[-1][m[1]] = (int(m[2]), int(m[3]))
    return found


def check_shares(got, weights, percent, slack=0):
    """Is each part of the sum as the weights say? slack: what may be missing beside that."""
    for name, amount in got.items():
        fair = sum(got.values()) * weights[name] / sum(weights.values())
        assert (abs(amount - fair) - slack) * 100 <= percent * fair, f"{name} got {amount}, not {fair:.0f}: {got}"


@pytest.mark.parametrize("model, cpus, quantum", PLACES)
def test_shares(tmp_path, model, cpus, quantum):
    """Five guests of eight vCPUs compute: all get what their weights say, and nobody is three slices behind."""
    config = ROOT / "tests/guest/shares.conf"
    weights = dict(zip(NAMES, map(int, re.findall(r"^weight += (\d+)", config.read_text(encoding="utf-8"), re.M))))
    result = run(tmp_path, config, "--cpu", model, "--cpus", cpus, "--quantum", quantum, timeout=900,
                 dialog=[("in window 1", "shares\n"), ("in window 19", "shares\n")])
    result.expect(OK, "5 guests ended as expected")
    # with 2 CPUs the lightest guest gets 134 slices in all: four more or less are 3 %
    percent = 2 if cpus == 4 else 3

    windows = {name: had(result, name) for name in NAMES}
    assert len({tuple(w) for w in windows.values()}) == 1, f"not the same windows: {windows}"
    check_shares({name: sum(w.values()) for name, w in windows.items()}, weights, percent)

    before, after = looks(result)
    # each look is somewhere in a round of slices, and a guest has eight of them
    check_shares({name: after[name][0] - before[name][0] for name in NAMES}, weights, percent, 4 * SLICE_US)
    # not more than it can have coming after a sleep; what is due while all compute the guests check themselves
    assert all(0 < behind <= 4 * SLICE_US for _, behind in after.values()), after
