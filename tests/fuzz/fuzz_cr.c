/* SPDX-License-Identifier: MIT */
/* SOURCES: kernel/cr.c vmm/machine/vmx_check.c vmm/machine/vmx_check_guest.c */
/*
 * Control registers: whatever sequence of MOV to CR0 and CR4, WRMSR of EFER and far jumps a guest
 * tries, the values that are taken make a state that a CPU can be in, by a second opinion: the
 * rules of VM entry.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/cr.h"
#include "lib/hw/vmx.h"
#include "lib/hw/x86.h"
#include "vmm/machine/vmx_check.h"

#define CR4_ALLOWED  (FIELD(11, 0) | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)
#define EFER_ALLOWED (EFER_SCE | EFER_LME | EFER_NXE)

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void on_rule(void *arg, const char *field, u64 value, const char *rule)
{
    static const char *const ours[] = {"GUEST_CR0", "GUEST_CR4", "GUEST_EFER"};

    (void)arg;
    (void)value;
    for (u32 i = 0; i < ARRAY_SIZE(ours); i++) {
        if (!strcmp(field, ours[i])) {
            __builtin_printf("%s: %s\n", field, rule);
            abort();
        }
    }
}

static void check(const struct cr_state *s)
{
    static const struct vmx_msrs msrs = {
        .cr0_fixed0 = CR0_PE | CR0_PG | CR0_NE,
        .cr0_fixed1 = 0xffffffff,
        .cr4_fixed0 = CR4_VMXE,
        .cr4_fixed1 = CR4_ALLOWED | CR4_VMXE,
    };
    struct vmcs_snapshot snapshot = {0};
    struct vmx_check c = {.s = &snapshot, .msrs = &msrs, .phys_bits = 40, .report = on_rule};

    if (!cr_state_check(s, CR4_ALLOWED, EFER_ALLOWED)) {
        abort();
    }
    snapshot.value[VMCS_INDEX_PROC_CONTROLS] = PROC_SECONDARY;
    snapshot.value[VMCS_INDEX_PROC2_CONTROLS] = PROC2_UNRESTRICTED | PROC2_ENABLE_EPT;
    snapshot.value[VMCS_INDEX_ENTRY_CONTROLS] =
        ENTRY_LOAD_EFER | (s->efer & EFER_LMA ? ENTRY_IA32E_GUEST : 0);
    snapshot.value[VMCS_INDEX_GUEST_CR0] = (s->cr0 & ~(CR0_CD | CR0_NW)) | CR0_NE;
    snapshot.value[VMCS_INDEX_GUEST_CR4] = s->cr4 | CR4_VMXE;
    snapshot.value[VMCS_INDEX_GUEST_EFER] = s->efer;
    vmx_check_guest(&c);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct cr_state s = {.cr0 = CR0_ET};

    while (size >= 9) {
        u64 value;
        memcpy(&value, data + 1, 8);
        switch (data[0] & 7) {
        case 0: /* sparse changes get further than random values */
            value = s.cr0 ^ (value & (CR0_PE | CR0_PG | CR0_CD | CR0_NW | CR0_WP));
            /* fall through */
        case 1:
            if (cr0_check(&s, value)) {
                bool lma = value & CR0_PG && s.efer & EFER_LME;
                s.cr0 = value;
                s.efer = lma ? s.efer | EFER_LMA : s.efer & ~EFER_LMA;
            }
            break;
        case 2:
            value = s.cr4 ^ (value & (CR4_PAE | CR4_PCIDE | CR4_PGE | CR4_VMXE));
            /* fall through */
        case 3:
            if (cr4_check(&s, value, CR4_ALLOWED)) {
                s.cr4 = value;
            }
            break;
        case 4:
            value = s.efer ^ (value & (EFER_LME | EFER_NXE | EFER_LMA));
            /* fall through */
        case 5:
            if (efer_check(&s, value, EFER_ALLOWED)) {
                s.efer = (value & ~EFER_LMA) | (s.efer & EFER_LMA);
            }
            break;
        case 6:
            s.cs_l = value & 1;
            break;
        default:
            s.cr3 = value;
            if (xcr0_check(value, FIELD(2, 0) | FIELD(7, 5)) && !(value & 1)) {
                abort();
            }
            break;
        }
        if (!(s.efer & EFER_LMA)) {
            s.cs_l = false;
        }
        check(&s);
        data += 9;
        size -= 9;
    }
    return 0;
}
