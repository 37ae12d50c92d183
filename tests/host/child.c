/* SPDX-License-Identifier: MIT */
/* Tests on a machine of their own, each in a child process; and what holds after all of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/frame.h"
#include "kernel/isolation.h"
#include "kernel/kmem.h"
#include "kernel/memory.h"
#include "kernel/notify.h"
#include "kernel/process.h"
#include "kernel/syscall.h"
#include "kernel/vm.h"
#include "tests/host/machine.h"

#define CHILD_SECONDS 120

void machine_check_clean(void)
{
    struct isolation_report r;

    spin_lock(&kernel_lock);
    for (u32 i = 0; i < IRQ_LINES; i++) { /* lines keep theirs for ever */
        if (irq_events[i]) {
            object_unref(&irq_events[i]->object);
        }
    }
    spin_unlock(&kernel_lock);
    CHECK(!process_list && !vm_list && !memory_list);
    CHECK_EQUAL(kmem_free_bytes(), host_kmem_before);
    CHECK_EQUAL(frame_free_bytes(), host_frames_before);
    isolation_check(&r);
    CHECK_EQUAL(r.wrong_owner, 0);
    CHECK_EQUAL(r.ept_foreign + r.kernel_maps_guest + r.write_exec + r.process_foreign, 0);
    CHECK_EQUAL(r.free_pages << PAGE_SHIFT, host_frames_before);
}

/* cmocka catches these to go on with the next test; in a child process that would run it there. */
static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
static struct sigaction sanitizers[ARRAY_SIZE(fatal)];

__attribute__((constructor)) static void keep_handlers(void)
{
    for (u32 i = 0; i < ARRAY_SIZE(fatal); i++) {
        sigaction(fatal[i], NULL, &sanitizers[i]);
    }
}

bool machine_test(const struct machine_config *config)
{
    int status = 0;

    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child < 0) {
        return false;
    }
    if (!child) {
        for (u32 i = 0; i < ARRAY_SIZE(fatal); i++) {
            sigaction(fatal[i], &sanitizers[i], NULL);
        }
        alarm(CHILD_SECONDS);
        machine_boot(config);
        (config->after ? config->after : machine_check_clean)();
        exit(0);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
}

bool machine_test_races(struct machine_config config, u32 count)
{
    config.interleave = true;
    for (config.seed = 1; config.seed <= count; config.seed++) {
        if (!machine_test(&config)) {
            return false;
        }
    }
    return true;
}
