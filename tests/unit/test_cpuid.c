/* SPDX-License-Identifier: MIT */
/* SOURCES: kernel/cpuid.c */
/* What CPUID tells a guest: nothing that does not work, nothing twice, and consistent with itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/cpuid.h"
#include "kernel/kmem.h"
#include "kernel/virt.h"
#include "lib/hw/kvm.h"
#include "lib/hw/x86.h"

/* --- what the kernel would provide --- */

static u64 guest_cr4;

static u64 fake_read(struct vcpu *v, enum virt_reg r)
{
    (void)v;
    assert_int_equal(r, VIRT_CR4);
    return guest_cr4;
}

static const struct virt fake_virt = {.read = fake_read};
const struct virt *virt = &fake_virt;
struct virt_machine virt_machine = {.features = VIRT_FEATURE_RDTSCP | VIRT_FEATURE_INVPCID};
u64 arch_tsc_hz = 50000000;

void *kmem_alloc(size_t bytes)
{
    return calloc(1, bytes);
}

void kmem_free(void *p)
{
    free(p);
}

/* --- hosts --- */

static u32 host_max = 0x16, host_xcr0 = 0xe7, host_ecx1 = ~0u;

/* Every bit set that a host could offer. */
static void host(u32 leaf, u32 subleaf, u32 out[4])
{
    static const u32 offsets[8] = {0, 0, 576, 960, 1024, 1088, 1152, 1664};
    static const u32 sizes[8] = {0, 0, 256, 64, 64, 64, 512, 1024};

    memset(out, 0, 16);
    switch (leaf) {
    case 0:
        out[0] = host_max;
        memcpy(&out[1], "Genu", 4);
        memcpy(&out[3], "ineI", 4);
        memcpy(&out[2], "ntel", 4);
        break;
    case 1:
        out[0] = 0x50654;
        out[1] = 0x07100800;
        out[2] = host_ecx1;
        out[3] = ~0u;
        break;
    case 4:
        if (subleaf < 4) {
            static const u32 type_level[4] = {1 | 1 << 5, 2 | 1 << 5, 3 | 2 << 5, 3 | 3 << 5};
            out[0] = type_level[subleaf] | 0x7fffc000;
            out[1] = 0x1c0003f;
            out[2] = 63;
        }
        break;
    case 7:
        if (subleaf == 0) {
            out[0] = 2;
        }
        out[1] = out[2] = out[3] = ~0u;
        if (subleaf) {
            out[0] = ~0u;
        }
        break;
    case 0xd:
        if (subleaf == 0) {
            out[0] = host_xcr0;
            out[1] = out[2] = 2696;
        } else if (subleaf == 1) {
            out[0] = ~0u;
        } else if (subleaf < 8) {
            out[0] = sizes[subleaf];
            out[1] = offsets[subleaf];
        }
        break;
    case 0x80000000:
        out[0] = 0x8000001e;
        break;
    case 0x80000001:
        out[2] = out[3] = ~0u;
        break;
    case 0x80000002:
        memcpy(out, "Some brand of CP", 16);
        break;
    case 0x80000007:
        out[3] = ~0u;
        break;
    case 0x80000008:
        out[0] = 0x303934; /* 52 bits of physical address */
        out[1] = ~0u;
        break;
    default:
        out[0] = out[1] = out[2] = out[3] = ~0u;
    }
}

static struct vm vm;
static struct vcpu v;

static void build(u32 vcpus, u32 features, u64 tsc_hz)
{
    static struct cpuid_table table;

    memset(&table, 0xa5, sizeof(table));
    cpuid_build(&table, &(struct cpuid_inputs){host, vcpus, features, tsc_hz});
    assert_true(table.used <= CPUID_LEAVES);
    vm.cpuid = &table;
    v.vm = &vm;
    v.index = 0;
    v.xcr0 = 1;
    v.apic.base = APIC_PAGE | APIC_BASE_ENABLE;
    guest_cr4 = 0;
}

static int setup(void **state)
{
    (void)state;
    host_max = 0x16;
    host_xcr0 = 0xe7;
    host_ecx1 = ~0u;
    build(4, virt_machine.features, 50000000);
    return 0;
}

static struct cpuid_leaf ask(u32 leaf, u32 subleaf)
{
    struct cpuid_leaf slow;

    v.gpr[GPR_RAX] = 0xdeadbeef00000000 | leaf;
    v.gpr[GPR_RCX] = 0xdeadbeef00000000 | subleaf;
    cpuid_exec(&v);
    slow = (struct cpuid_leaf){(u32)v.gpr[GPR_RAX], (u32)v.gpr[GPR_RBX], (u32)v.gpr[GPR_RCX],
                               (u32)v.gpr[GPR_RDX]};
    for (u32 i = GPR_RAX; i <= GPR_RBX; i++) {
        assert_int_equal(v.gpr[i] >> 32, 0); /* upper halves are cleared */
    }
    /* the short way says the same, or steps aside */
    v.gpr[GPR_RAX] = leaf;
    v.gpr[GPR_RCX] = subleaf;
    if (cpuid_exec_plain(&v)) {
        assert_int_equal(v.gpr[GPR_RAX], slow.eax);
        assert_int_equal(v.gpr[GPR_RBX], slow.ebx);
        assert_int_equal(v.gpr[GPR_RCX], slow.ecx);
        assert_int_equal(v.gpr[GPR_RDX], slow.edx);
    } else {
        assert_int_equal(v.gpr[GPR_RAX], leaf);
        assert_int_equal(v.gpr[GPR_RCX], subleaf);
    }
    return slow;
}

static void test_hidden(void **state)
{
    (void)state;
    struct cpuid_leaf l1 = ask(1, 0), l7 = ask(7, 0), l71 = ask(7, 1), e1 = ask(0x80000001, 0);
    static const u8 ecx1[] = {2, 3, 4, 5, 6, 7, 8, 11, 14, 15, 18, 27};
    static const u8 edx1[] = {18, 21, 22, 29, 31};
    static const u8 ebx7[] = {2, 4, 11, 12, 14, 15, 22, 25};
    static const u8 ecx7[] = {3, 4, 5, 7, 13, 16, 23, 24, 29, 30, 31};

    for (u32 i = 0; i < ARRAY_SIZE(ecx1); i++) {
        assert_false(l1.ecx & BIT(ecx1[i]));
    }
    for (u32 i = 0; i < ARRAY_SIZE(edx1); i++) {
        assert_false(l1.edx & BIT(edx1[i]));
    }
    for (u32 i = 0; i < ARRAY_SIZE(ebx7); i++) {
        assert_false(l7.ebx & BIT(ebx7[i]));
    }
    for (u32 i = 0; i < ARRAY_SIZE(ecx7); i++) {
        assert_false(l7.ecx & BIT(ecx7[i]));
    }
    assert_false(l7.edx & FIELD(31, 26)); /* speculation controls: their MSRs do not exist */
    assert_false(l7.edx & (BIT(20) | BIT(18) | BIT(15) | BIT(5)));
    assert_int_equal(l71.ebx | l71.ecx | l71.edx, 0);
    assert_false(e1.ecx & BIT(2)); /* SVM */
    assert_true(l1.ecx & BIT(31)); /* hypervisor */
    assert_false(ask(0xd, 1).eax & BIT(3));
    static const u32 empty[] = {3, 5, 8, 9, 0xa, 0xc, 0xe, 0xf, 0x10, 0x11, 0x12, 0x13, 0x14};
    for (u32 i = 0; i < ARRAY_SIZE(empty); i++) {
        for (u32 sub = 0; sub < 4; sub++) {
            struct cpuid_leaf l = ask(empty[i], sub);
            assert_int_equal(l.eax | l.ebx | l.ecx | l.edx, 0);
        }
    }
}

static void assert_name(u32 leaf, const char *wanted)
{
    struct cpuid_leaf l = ask(leaf, 0);
    char name[13] = {0};

    for (u32 i = 0; i < 4; i++) {
        name[i] = (char)(l.ebx >> (8 * i));
        name[4 + i] = (char)(l.ecx >> (8 * i));
        name[8 + i] = (char)(l.edx >> (8 * i));
    }
    assert_string_equal(name, wanted);
}

static void test_ranges(void **state)
{
    (void)state;
    struct cpuid_leaf last = ask(CPUID_MAX_BASIC, 0);
    static const u32 beyond[] = {0x17,       0x20,       0x12345,    0x3fffffff,
                                 0x40000011, 0x400000ff, 0x40000102, 0x7fffffff,
                                 0x80000009, 0x8000001f, 0xffffffff};

    assert_int_equal(ask(0, 0).eax, CPUID_MAX_BASIC);
    assert_int_equal(ask(0, 0).ebx, 0x756e6547);
    assert_int_equal(ask(0x80000000, 0).eax, CPUID_MAX_EXTENDED);
    assert_int_equal(ask(0x40000000, 0).eax, CPUID_MAX_HYPERVISOR);
    for (u32 i = 0; i < ARRAY_SIZE(beyond); i++) {
        struct cpuid_leaf l = ask(beyond[i], 0);
        assert_memory_equal(&l, &last, sizeof(l));
    }
    assert_name(0x40000000, "SocleSocle");
    assert_name(0x40000100, "KVMKVMKVM");
    assert_int_equal(ask(0x40000100, 0).eax, 0x40000101);
    assert_int_equal(ask(0x40000101, 0).eax,
                     KVM_NO_DELAY | KVM_CLOCK | KVM_CLOCK_STABLE | KVM_STEAL_TIME);
    struct cpuid_leaf width = ask(0x80000008, 0);
    assert_int_equal(width.eax, 48 | 48 << 8); /* four levels of nested tables */
}

static void test_topology(void **state)
{
    (void)state;
    for (u32 n = 1; n <= VM_MAX_CPUS; n++) {
        build(n, 0, 50000000);
        u32 bits = 0;
        while (1u << bits < n) {
            bits++;
        }
        for (v.index = 0; v.index < n; v.index++) {
            struct cpuid_leaf l1 = ask(1, 0), smt = ask(0xb, 0), core = ask(0xb, 1),
                              none = ask(0xb, 2);
            assert_int_equal(l1.ebx >> 24, v.index);
            assert_int_equal(l1.ebx >> 16 & 0xff, n);
            assert_int_equal(!!(l1.edx & BIT(28)), n > 1);
            assert_int_equal(smt.eax, 0);
            assert_int_equal(smt.ecx, 1 << 8);
            assert_int_equal(core.eax, bits);
            assert_int_equal(core.ebx, n);
            assert_int_equal(core.ecx, 1 | 2 << 8);
            assert_int_equal(none.ecx, 2);
            assert_int_equal(ask(0xb, 0x1ff).ecx, 0xff);
            assert_int_equal(none.eax | none.ebx, 0);
            assert_int_equal(smt.edx, v.index);
            assert_int_equal(none.edx, v.index);
        }
        v.index = 0;
        for (u32 i = 0; i < 4; i++) {
            struct cpuid_leaf c = ask(4, i);
            assert_int_equal(c.eax >> 26, (1u << bits) - 1);
            assert_int_equal(c.eax >> 14 & 0xfff, i == 3 ? (1u << bits) - 1 : 0);
        }
        assert_int_equal(ask(4, 4).eax, 0);
        assert_int_equal(ask(4, ~0u).eax, 0);
    }
}

static void test_frequency(void **state)
{
    static const u64 rates[] = {1000000,    50000000,   999999999,  2400000000,
                                4294967295, 4294967296, 5100000000, 17200000000};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rates); i++) {
        build(1, 0, rates[i]);
        struct cpuid_leaf l = ask(0x15, 0);
        u64 told = (u64)l.ecx * l.ebx / l.eax;
        assert_true(told <= rates[i] && rates[i] - told < l.ebx);
        assert_int_equal(ask(0x40000010, 0).eax, (u32)(rates[i] / 1000));
        /* the APIC timer's clock is the crystal */
        assert_int_equal(ask(0x40000010, 0).ebx, l.ecx / 1000);
        assert_int_equal(rates[i] >> vm.cpuid->crystal_shift, l.ecx);
        assert_int_equal(ask(0x16, 0).eax, rates[i] / 1000000);
    }
}

static void test_dynamic(void **state)
{
    (void)state;
    assert_false(ask(1, 0).ecx & BIT(27));
    guest_cr4 = CR4_OSXSAVE;
    assert_true(ask(1, 0).ecx & BIT(27));
    /* the APIC comes and goes with IA32_APIC_BASE */
    assert_true(ask(1, 0).edx & BIT(9));
    v.apic.base = APIC_PAGE;
    assert_false(ask(1, 0).edx & BIT(9));
    v.apic.base = APIC_PAGE | APIC_BASE_ENABLE;
    /* sizes by XCR0, standard and compacted */
    assert_int_equal(ask(0xd, 0).eax, 0xe7);
    assert_int_equal(ask(0xd, 0).ecx, 2688);
    static const struct {
        u64 xcr0;
        u32 standard, compacted;
    } sizes[] = {
        {1,    576,  576                        },
        {3,    576,  576                        },
        {7,    832,  832                        },
        {0xe7, 2688, 576 + 256 + 64 + 512 + 1024}
    };
    for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
        v.xcr0 = sizes[i].xcr0;
        assert_int_equal(ask(0xd, 0).ebx, sizes[i].standard);
        assert_int_equal(ask(0xd, 1).ebx, sizes[i].compacted);
    }
    struct cpuid_leaf avx = ask(0xd, 2), mpx = ask(0xd, 3), beyond = ask(0xd, 8);
    assert_int_equal(avx.eax, 256);
    assert_int_equal(avx.ebx, 576);
    assert_int_equal(mpx.eax | mpx.ebx | beyond.eax | beyond.ebx, 0);
}

/* Instructions go with the state that they need. */
static void test_state_components(void **state)
{
    (void)state;
    host_xcr0 = 3;
    build(1, 0, 1000000);
    assert_int_equal(vm.cpuid->xcr0, 3);
    assert_false(ask(1, 0).ecx & (BIT(28) | BIT(12) | BIT(29)));
    assert_false(ask(7, 0).ebx & BIT(5));
    assert_true(ask(1, 0).ecx & BIT(26));
    host_xcr0 = 0x67; /* AVX-512 in part */
    build(1, 0, 1000000);
    assert_int_equal(vm.cpuid->xcr0, 7);
    assert_true(ask(7, 0).ebx & BIT(5));
    assert_false(ask(7, 0).ebx & (BIT(16) | BIT(31)));
    host_xcr0 = 0xe3;
    build(1, 0, 1000000);
    assert_int_equal(vm.cpuid->xcr0, 3);
    host_ecx1 &= ~BIT(26);
    build(1, 0, 1000000);
    assert_int_equal(vm.cpuid->xcr0, 0);
    assert_false(ask(1, 0).ecx & (BIT(26) | BIT(28)));
    assert_int_equal(ask(0xd, 0).eax | ask(0xd, 0).ebx | ask(0xd, 1).eax, 0);
    assert_false(vm.cpuid->cr4_allowed & CR4_OSXSAVE);
}

static void test_backend_features(void **state)
{
    (void)state;
    assert_true(ask(7, 0).ebx & BIT(10));
    assert_true(ask(7, 0).ecx & BIT(22));
    assert_true(ask(0x80000001, 0).edx & BIT(27));
    build(1, 0, 1000000);
    assert_false(ask(7, 0).ebx & BIT(10));
    assert_false(ask(7, 0).ecx & BIT(22));
    assert_false(ask(0x80000001, 0).edx & BIT(27));
}

static void test_allowed_registers(void **state)
{
    (void)state;
    assert_int_equal(vm.cpuid->cr4_allowed,
                     FIELD(11, 0) | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP);
    assert_int_equal(vm.cpuid->efer_allowed, EFER_SCE | EFER_LME | EFER_NXE);
    host_max = 4; /* a host without leaf 7 */
    build(1, 0, 1000000);
    assert_false(vm.cpuid->cr4_allowed & (CR4_SMEP | CR4_SMAP | CR4_UMIP | CR4_FSGSBASE));
    assert_int_equal(ask(7, 0).ebx, BIT(1)); /* TSC_ADJUST, which is made here */
}

/* Every leaf and subleaf that a guest can ask for is answered from inside the table. */
static void test_everything(void **state)
{
    u64 seed = 88172645463325252ull;

    (void)state;
    for (u32 i = 0; i < 200000; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        u32 leaf = (u32)(seed >> 32), sub = (u32)seed;
        if (i & 1) {
            leaf &= 0xc000001f;
        }
        if (i & 2) {
            sub &= 15;
        }
        ask(leaf, sub);
    }
}

static void test_create(void **state)
{
    (void)state;
    struct cpuid_table *t = cpuid_create(2);
    assert_non_null(t);
    cpuid_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_hidden, setup),
        cmocka_unit_test_setup(test_ranges, setup),
        cmocka_unit_test_setup(test_topology, setup),
        cmocka_unit_test_setup(test_frequency, setup),
        cmocka_unit_test_setup(test_dynamic, setup),
        cmocka_unit_test_setup(test_state_components, setup),
        cmocka_unit_test_setup(test_backend_features, setup),
        cmocka_unit_test_setup(test_allowed_registers, setup),
        cmocka_unit_test_setup(test_everything, setup),
        cmocka_unit_test_setup(test_create, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
