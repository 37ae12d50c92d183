/* SPDX-License-Identifier: MIT */
/* What the kernel says of itself. */
#include "tests/ring3/ring3.h"

static s64 info(u64 what, u64 index, void *out, u64 bytes)
{
    return sys_system_info(start->base.system, what, index, out, bytes);
}

/* The report counts pages as they are, also while others come and go. */
static void isolation(void)
{
    static struct isolation_report r;
    s64 n = info(SYSTEM_ISOLATION, 0, &r, sizeof(r));

    check(n == (s64)sizeof(r), "an isolation report: %ld", n);
    check(!r.wrong_owner, "pages of nobody or of two: %lu", r.wrong_owner);
    check(!r.ept_foreign, "foreign pages in guests: %lu", r.ept_foreign);
    check(!r.kernel_maps_guest, "pages of guests in the kernel: %lu", r.kernel_maps_guest);
    check(!r.write_exec, "writable and executable leaves: %lu", r.write_exec);
    check(!r.process_foreign, "foreign pages in processes: %lu", r.process_foreign);
    check(r.free_pages > 0 && r.process_pages > 0 && r.kernel_pages > 0 && r.tables > 0,
          "free %lu, of processes %lu, of the kernel %lu, tables %lu", r.free_pages,
          r.process_pages, r.kernel_pages, r.tables);
}

static void cpus(void)
{
    struct system_summary s = {0};
    struct system_cpu c;

    info(SYSTEM_SUMMARY, 0, &s, sizeof(s));
    check(s.cpus == s.cpus_found, "%u of %u CPUs run", s.cpus, s.cpus_found);
    for (u64 i = 0; i < s.cpus; i++) {
        s64 n = info(SYSTEM_CPU, i, &c, sizeof(c));
        check(n == (s64)sizeof(c) && c.online, "CPU %lu: %ld, online %u", i, n, c.online);
    }
    check(info(SYSTEM_CPU, s.cpus, &c, sizeof(c)) == E_NOT_FOUND, "a CPU too many");
}

static void clock(void)
{
    u64 last = sys_tsc(), back = 0;

    for (u32 i = 0; i < 1000; i++) {
        u64 now = sys_tsc();
        back += now <= last;
        last = now;
    }
    check(!back, "the TSC stood still or went back %lu times", back);
    check(start->base.tsc_hz >= 1000000, "a TSC of %lu Hz", start->base.tsc_hz);
}

void test_system(void)
{
    isolation();
    cpus();
    clock();
}
