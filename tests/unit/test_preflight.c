/* SPDX-License-Identifier: MIT */
/* The loader's judgement of a CPU. */
/* SOURCES: boot/preflight.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "boot/preflight.h"
#include "lib/hw/x86.h"

#define SVM_NESTED_PAGING 1u

/* A CPU that can do it all; each case takes something away. */
static const struct cpu_facts good = {
    .vendor = "GenuineIntel",
    .vmx = true,
    .no_execute = true,
    .feature_control = 5,
    .procbased = BIT(63),
    .procbased2 = BIT(33) | BIT(39),
    .ept_vpid = BIT(6) | BIT(14),
};

static const struct cpu_facts good_amd = {
    .vendor = "AuthenticAMD",
    .svm = true,
    .no_execute = true,
    .svm_features = SVM_NESTED_PAGING,
};

static void assert_says(const struct cpu_facts *f, const char *part)
{
    const char *sentence = preflight_guests(f);

    assert_non_null(sentence);
    if (!strstr(sentence, part)) {
        fail_msg("'%s' does not say '%s'", sentence, part);
    }
}

static void able(void **state)
{
    struct cpu_facts f = good;

    (void)state;
    assert_null(preflight_host(&f));
    assert_null(preflight_guests(&f));
    f.feature_control = 0; /* neither locked nor on: the kernel switches it on */
    assert_null(preflight_guests(&f));
    f.feature_control = 4;
    assert_null(preflight_guests(&f));
    f.hypervisor = true; /* nested */
    assert_null(preflight_guests(&f));
    f.no_execute = false;
    assert_non_null(strstr(preflight_host(&f), "switch it on in the firmware's setup"));
}

static void able_by_svm(void **state)
{
    struct cpu_facts f = good_amd;

    (void)state;
    assert_null(preflight_host(&f));
    assert_null(preflight_guests(&f));
    f.vm_cr = VM_CR_SVMDIS; /* not locked: the kernel switches it on */
    assert_null(preflight_guests(&f));
    f.vm_cr = VM_CR_LOCK;
    assert_null(preflight_guests(&f));
    f.hypervisor = true; /* nested, or an emulator of another vendor's name */
    memcpy(f.vendor, "GenuineIntel", 12);
    assert_null(preflight_guests(&f));
    f.vm_cr = VM_CR_LOCK | VM_CR_SVMDIS;
    assert_says(&f, "AMD-V is locked off by the firmware: switch on SVM");
    f = good_amd;
    f.svm_features = ~SVM_NESTED_PAGING;
    assert_says(&f, "no nested paging");
}

static void without_any(void **state)
{
    struct cpu_facts f = {.vendor = "AuthenticAMD", .no_execute = true};

    (void)state;
    assert_says(&f, "no AMD-V: switch on SVM");
    memcpy(f.vendor, "HygonGenuine", 12);
    assert_says(&f, "no AMD-V: switch on SVM");
    memcpy(f.vendor, "GenuineIntel", 12);
    assert_says(&f, "switch on Intel Virtualization Technology");
    memcpy(f.vendor, "CentaurHauls", 12);
    assert_says(&f, "shows no VT-x");
    f.hypervisor = true;
    assert_says(&f, "neither VT-x nor AMD-V: switch on nested virtualization");
}

static void lacking(void **state)
{
    struct cpu_facts f = good;

    (void)state;
    f.feature_control = 1;
    assert_says(&f, "locked off by the firmware: switch on");
    f.feature_control = 3; /* in SMX alone does not help */
    assert_says(&f, "locked off");
    f = good;
    f.procbased = 0;
    assert_says(&f, "no EPT");
    f = good;
    f.procbased2 = BIT(39);
    assert_says(&f, "no EPT");
    f.procbased2 = BIT(33);
    assert_says(&f, "no unrestricted guest");
    f = good;
    f.ept_vpid = BIT(6);
    assert_says(&f, "write-back");
    f.ept_vpid = BIT(14);
    assert_says(&f, "four levels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(able),
        cmocka_unit_test(able_by_svm),
        cmocka_unit_test(without_any),
        cmocka_unit_test(lacking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
