# SPDX-License-Identifier: MIT
"""The project's rules find what they are there to find, and nothing in what is right."""
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TAG = "/* SPDX-License-Identifier: MIT */\n"
ASM_TAG = "; SPDX-License-Identifier: MIT\n"


def lint(tmp_path, files):
    """Output of the rules over a tree."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = subprocess.run([ROOT / "tools" / "lint" / "rules", tmp_path], capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stdout


BAD = [
    ({"lib/a.c": "int x;\n"}, "lib/a.c:1: licence"),
    ({"lib/a.c": TAG + '#include "kernel/abi.h"\n'}, "lib/a.c:2: layers: lib/ may not include kernel/abi.h"),
    ({"kernel/a.c": TAG + '#include "arch/x86/msr.h"\n'}, "kernel/a.c:2: layers"),
    ({"vmm/device/a.c": TAG + '#include "vmm/machine/ram.h"\n'}, "vmm/device/a.c:2: layers"),
    ({"arch/x86/vmx/a.c": TAG + '#include "arch/x86/svm/b.h"\n'}, "arch/x86/vmx/a.c:2: layers"),
    ({"vmm/load/a.c": TAG + '#include "kernel/vm.h"\n'}, "vmm/load/a.c:2: layers"),
    ({"lib/a.c": TAG + '#include "b.h"\n'}, "path from the root"),
    ({"kernel/a.c": TAG + 'void f(void) { __asm__("nop"); }\n'}, "kernel/a.c:2: one door: assembly"),
    ({"vmm/a.asm": ASM_TAG + "    nop\n"}, "vmm/a.asm:1: one door"),
    ({"arch/x86/vmx/a.h": TAG + '__asm__("vmread %0, %1");\n',
      "arch/x86/vmx/b.asm": ASM_TAG + "    vmread rax, rbx\n"}, "b.asm:2: one door: vmread and vmwrite"),
    ({"arch/x86/vmx/a.asm": ASM_TAG + "    vmresume\n",
      "arch/x86/vmx/b.asm": ASM_TAG + "    vmlaunch\n"}, "one door: vmlaunch and vmresume"),
    ({"vmm/machine/a.c": TAG + 'void f(void) { panic("x"); }\n'}, "vmm/machine/a.c:2: panic"),
    ({"kernel/msr.c": TAG + "void f(void) { ASSERT(1); }\n"}, "kernel/msr.c:2: panic"),
    ({"kernel/syscall_vm.c": TAG + 'void f(void) { panic("x"); }\n'}, "kernel/syscall_vm.c:2: panic"),
    ({"lib/a.h": TAG + '#include "lib/b.h"\n', "lib/b.h": TAG + '#include "lib/a.h"\n'}, "cycle"),
    ({"lib/a.c": TAG + "int x;\n" * 601}, "length: 602 lines"),
    ({"lib/a.c": TAG + "int x; /* TO" + "DO: more */\n"}, "lib/a.c:2: unfinished"),
    ({"lib/a.c": TAG + "int x; \n"}, "lib/a.c:2: white space"),
    ({"kernel/a.c": TAG + "int x;\n" * 500, **{f"kernel/b{n}.c": TAG + "int x;\n" * 599 for n in range(40)}},
     "ring 0 has"),
]


@pytest.mark.parametrize("files, finding", BAD, ids=[case[1] for case in BAD])
def test_bad_file_is_found(tmp_path, files, finding):
    """Each rule finds its breach."""
    status, text = lint(tmp_path, files)
    assert status == 1 and finding in text


def test_good_files_pass(tmp_path):
    """No rule sees what is not there: words in comments and strings, allowed includes."""
    status, text = lint(tmp_path, {
        "lib/a.c": TAG + '#include "lib/a.h"\n/* asm, panic( and vmread are words */\nconst char *s = "asm";\n',
        "lib/a.h": TAG,
        "kernel/exit.c": TAG + '/* no panic() here */\nconst char *s = "panic(";\n#include "arch/arch.h"\n',
        "arch/arch.h": TAG + '__asm__("nop");\n',
        "arch/x86/vmx/vmcs.h": TAG + 'static int vmread(void)\n{\n    __asm__("vmread %0");\n}\n',
        "arch/x86/vmx/b.c": TAG + 'int f(void)\n{\n    log("vmread failed");\n    return vmread();\n}\n',
        "boot/a.asm": ASM_TAG + "    nop\n",
        "guests/a.c": TAG + '#include "guests/lib/a.h"\nvoid f(void) { asm("nop"); }\n',
    })
    assert status == 0, text
