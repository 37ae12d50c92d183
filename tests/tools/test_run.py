# SPDX-License-Identifier: MIT
"""socle run: verdicts, time-outs, input, cleaning up; on an emulator that plays a script."""
import json
import os
import signal
import subprocess
import time

import pytest

from soclelib import qemu

GOOD = ("say \\x1b[2J\\x1b[01;01HBdsDxe: loading", "say socle: starts", "say [one] hello",
        "say socle: end status=0 (2 guests)")


def leftovers(host):
    """Files that a run should have taken away."""
    return list(host.temp.iterdir()) + list(host.runtime.glob("*/*"))


@pytest.mark.parametrize("script, status, words", [
    (GOOD, 0, "status 0, every guest ended well (2 guests)"),
    (("say socle: end status=1 (one failed)",), 1, "a guest failed: one failed"),
    (("say socle: refused: this CPU has no EPT", "say socle: end status=2"), 2, "this CPU has no EPT"),
    (("say socle: panic: frame 12 twice", "say more", "sleep 60"), 2, "panic: frame 12 twice"),
    (("say socle: starts", "log 00001p[CPU0  ] >>PANIC<< exception(): 3rd (13) exception with no resolution",
      "sleep 60"), 2, "triple fault"),
    (("say socle: starts",), 2, "ended without a verdict"),
    (("part socle: end status=0",), 0, "every guest ended well"),
    (("say socle: end status=7",), 2, "Socle itself failed"),
    (("say [one] socle: end status=0", "say x socle: panic: no"), 2, "without a verdict"),
    (("say socle: starts", r"say socle\x1b\\: end status=0", r"say socle> \r  \rsocle\x1b\\: end status=0",
      r"say socle\x1b\\: panic: no", r"say soc\r \rle: end status=0", r"say soc\rle: end status=0"), 2, "without a verdict"),
    (("say socle: starts", r"say socle> li\r         \rsocle: end status=0"), 0, "every guest ended well"),
    (("say socle: starts", r"say \r   \rsocle> \r       \rsocle: end status=0"), 0, "every guest ended well"),
], ids=["well", "guest failed", "refused", "panic", "triple fault", "silent end", "cut line", "odd status",
        "a guest's lie", "an attached guest's lie", "after a prompt", "after prompts"])
def test_verdict(host, script, status, words):
    """The exit status says how it ended, the last line why."""
    host.bochs(*script)
    done = host.run("--timeout", 30)
    assert done.returncode == status, done.stderr
    assert words in done.stderr.splitlines()[-1]
    assert not leftovers(host)


def test_timeout(host):
    """A machine that goes on for ever is ended."""
    host.bochs("say socle: starts", "sleep 60")
    begin = time.monotonic()
    done = host.run("--timeout", 1)
    assert done.returncode == 3 and time.monotonic() - begin < 10
    assert "no end within 1 s" in done.stderr
    assert not leftovers(host)


def test_machine_that_stays_on(host):
    """After the verdict the machine has a moment to switch off, no more."""
    host.bochs("say socle: end status=0", "sleep 60")
    begin = time.monotonic()
    assert host.run("--timeout", 50).returncode == 0
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize("flags, device, modules, words", [
    ("fpu vmx", True, {"kvm_intel": "Y"}, None),
    ("fpu vmx", True, {"kvm_intel": "1"}, None),
    ("fpu svm", True, {"kvm_amd": "1"}, None),
    ("fpu svm", True, {"kvm_intel": "1"}, "kvm_amd is not loaded"),
    ("fpu svm", True, {"kvm_amd": "0"}, "nested=1"),
    ("fpu vmx", True, {"kvm_intel": "N"}, "nested=1"),
    ("fpu vmx", False, {"kvm_intel": "Y"}, "/dev/kvm"),
    ("fpu vmx_not svm2", True, {"kvm_intel": "Y"}, "neither VT-x nor AMD-V"),
])
def test_nested_kvm_is_taken_where_it_is_offered(tmp_path, flags, device, modules, words):
    """A /dev/kvm alone says nothing."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"flags\t\t: {flags}\n")
    if device:
        (tmp_path / "dev").mkdir()
        (tmp_path / "dev/kvm").touch()
    for name, nested in modules.items():
        folder = tmp_path / "sys/module" / name / "parameters"
        folder.mkdir(parents=True)
        (folder / "nested").write_text(nested + "\n")
    missing = qemu.kvm_missing(tmp_path)
    assert missing is None if words is None else words in missing


def test_missing_platforms(host):
    """4, with a word about what to do."""
    done = host.run()
    assert done.returncode == 4 and "tools/setup" in done.stderr
    done = host.run("--bochs", "3.1")
    assert done.returncode == 4 and "tools/setup --bochs 3.1" in done.stderr
    host.bochs(*GOOD)
    assert host.run("--screenshot", "x.ppm").returncode == 4
    done = host.run("--cpu", "skylake")
    assert done.returncode == 4 and "no CPU model 'skylake'; it has i386, corei3_cnl" in done.stderr
    assert not leftovers(host)


def test_emulator_that_does_not_start(host):
    """An emulator that ends at once, without a word."""
    host.bochs()
    (host.cache / "socle" / "bochs-3.0" / "bochs").write_text("#!/bin/sh\necho no such thing\nexit 1\n")
    done = host.run("--input", "yes", typed="x")
    assert done.returncode == 4 and "no such thing" in done.stderr


def test_log_and_report(host):
    """--log has the serial line byte by byte, --report the facts; escapes stay out of the printed text."""
    host.bochs(*GOOD)
    log, report = host.folder / "log", host.folder / "report"
    done = host.run("--log", log, "--report", report)
    assert done.stdout.splitlines() == ["BdsDxe: loading", "socle: starts", "[one] hello",
                                        "socle: end status=0 (2 guests)"]
    assert log.read_bytes().startswith(b"\x1b[2J\x1b[01;01HBdsDxe: loading\r\nsocle: starts\r\n")
    facts = json.loads(report.read_text())
    assert facts["status"] == 0 and facts["ticks"] == 1234567 and facts["platform"] == "bochs"


def test_a_guest_does_not_speak_for_socle(host):
    """Its lines are still its own when their escape sequences are gone."""
    host.bochs("say socle: starts", r"say socle\x1b\\: guest db: success, as expected",
               r"say so\x1b[mcle: guest db: success, as expected", "say socle: end status=0")
    done = host.socle("run", host.config(), "--platform", "bochs")
    assert done.stdout.splitlines() == ["socle: starts", *[" socle: guest db: success, as expected"] * 2,
                                        "socle: end status=0"]


def test_input_reaches_the_machine(host):
    """What is typed goes to the serial line."""
    host.bochs("say socle: starts", "echo", "say socle: end status=0")
    done = host.run(typed="ahoy\n")
    assert done.returncode == 0 and "<ahoy>" in done.stdout


def test_options_reach_the_emulator(host):
    """Model, counts, memory and features are in its configuration."""
    saved = host.folder / "saved"
    host.bochs(f"save {saved}", *GOOD)
    host.run("--cpus", 4, "--cpu", "corei3_cnl", "--quantum", 3, "--memory", "2G", "--exclude-features", "vmx",
             "--ips", 1000000)
    rc = saved.read_text()
    for word in ("model=corei3_cnl, count=4, ips=1000000, quantum=3", 'exclude_features="vmx"',
                 "memory: guest=2048", "time0=946684800", "realtime=0"):
        assert word in rc
    assert "fw_cfg" not in rc and "ignore_bad_msrs=1" in rc
    host.bochs(f"save {saved}", *GOOD, version="3.1")
    host.run("--bochs", "3.1")
    rc = saved.read_text()
    assert "fw_cfg: enabled=1" in rc and "ignore_bad_msrs=0, cpuid_freq=ips" in rc


def test_runs_a_disk_image(host):
    """The same for an image that was written before."""
    host.bochs(*GOOD)
    host.socle("image", host.config(), "-o", host.folder / "disk.img")
    assert host.run(config=host.folder / "disk.img").returncode == 0


def test_interrupted_run_leaves_nothing(host):
    """Ctrl-C ends emulator and files."""
    host.bochs("say socle: starts", f"save {host.folder}/started", "sleep 60")
    child = subprocess.Popen(host.command("run", host.config(), "--platform", "bochs"), env=host.environment,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # may be off here
    for _ in range(200):
        if (host.folder / "started").exists():
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 130
    assert not leftovers(host)
    for process in os.listdir("/proc"):
        if process.isdigit():
            try:
                words = open(f"/proc/{process}/cmdline", "rb").read()
            except OSError:
                continue
            assert str(host.cache).encode() not in words


def test_silence_is_explained(host):
    """Somebody who waits sees that it is alive."""
    host.bochs("sleep 6", *GOOD)
    assert "booting, 5 s" in host.run().stderr
