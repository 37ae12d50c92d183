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

static void without_vtx(void **state)
{
    struct cpu_facts f = {.vendor = "AuthenticAMD", .svm = true, .no_execute = true};

    (void)state;
    assert_says(&f, "this CPU offers AMD-V, which this version does not use");
    f.svm = false;
    assert_says(&f, "this is an AMD CPU");
    memcpy(f.vendor, "HygonGenuine", 12);
    assert_says(&f, "this is an AMD CPU");
    memcpy(f.vendor, "GenuineIntel", 12);
    assert_says(&f, "switch on Intel Virtualization Technology");
    f.hypervisor = true;
    assert_says(&f, "switch on nested virtualization");
    memcpy(f.vendor, "CentaurHauls", 12);
    f.hypervisor = false;
    assert_says(&f, "shows no VT-x");
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
        cmocka_unit_test(without_vtx),
        cmocka_unit_test(lacking),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
