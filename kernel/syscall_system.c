/* SPDX-License-Identifier: MIT */
/* System calls about events, the console and the machine. Every argument is ring 3's. */
#include "kernel/abi.h"
#include "kernel/boot.h"
#include "kernel/console.h"
#include "kernel/frame.h"
#include "kernel/isolation.h"
#include "kernel/kmem.h"
#include "kernel/memory.h"
#include "kernel/notify.h"
#include "kernel/sched.h"
#include "kernel/selftest.h"
#include "kernel/syscall.h"
#include "kernel/thread.h"
#include "kernel/virt.h"
#include "lib/string.h"

#define CONSOLE_CHUNK 128

struct object system_object = {OBJECT_SYSTEM, 1, NULL};

static struct notify *event_of(const struct call *k)
{
    return CONTAINER_OF(k->o, struct notify, object);
}

s64 sys_event_signal(const struct call *k)
{
    if (k->b & BIT(63)) {
        return E_INVAL;
    }
    notify_signal(event_of(k), k->b);
    return E_OK;
}

s64 sys_event_wait(const struct call *k)
{
    return !k->b || k->b & BIT(63) ? E_INVAL : notify_wait(event_of(k), k->b, k->c);
}

s64 sys_console_write(const struct call *k)
{
    char text[CONSOLE_CHUNK];
    u64 n = MIN(k->c, CONSOLE_CHUNK);

    if (arch_copy_from_user(text, k->b, n)) {
        return E_FAULT;
    }
    return (s64)console_try_write(text, n);
}

/* --- devices that ring 3 drives: all that it may ever touch of the host --- */

#define I8042_DATA   0x60
#define I8042_STATUS 0x64
#define COM1_BASE    0x3f8
/* Commands of the 8042 that neither reset the machine nor change what others see of its memory. */
#define I8042_OK(c)                                                                                \
    ((c) == 0x20 || (c) == 0x60 || (c) == 0xa7 || (c) == 0xad || (c) == 0xae) /* see drivers/ */
#define COM1_PORTS 8

struct notify *irq_events[IRQ_LINES]; /* once set, they stay */

s64 sys_port(const struct call *k)
{
    u64 port = k->b & ~PORT_WRITE;

    if (port != I8042_DATA && port != I8042_STATUS && port - COM1_BASE >= COM1_PORTS) {
        return E_RIGHTS;
    }
    if (port == I8042_STATUS && k->b & PORT_WRITE && !I8042_OK((u8)k->c)) {
        return E_RIGHTS;
    }
    return arch_port(k->b & PORT_WRITE, (u16)port, (u8)k->c);
}

s64 sys_irq(const struct call *k)
{
    int error = E_RIGHTS;

    if (k->c >= IRQ_LINES || !(BOOT_IRQ_LINES & BIT(k->c))) {
        return error;
    }
    struct object *o = handle_get(k->p, k->b, OBJECT_EVENT, RIGHT_WRITE, &error);
    if (!o || irq_events[k->c]) {
        return o ? E_BUSY : error;
    }
    object_ref(o);
    __atomic_store_n(&irq_events[k->c], CONTAINER_OF(o, struct notify, object), __ATOMIC_RELEASE);
    return E_OK;
}

void kernel_irq(u32 line)
{
    if (irq_events[line]) {
        notify_signal(irq_events[line], IRQ_BIT(line));
    }
}

/* --- SYS_SYSTEM_INFO --- */

union info {
    struct system_summary summary;
    struct system_cpu cpu;
    struct system_module module;
    struct isolation_report isolation;
    struct system_test test;
};

static s64 info_summary(UNUSED const struct call *k, union info *out)
{
    struct system_summary *s = &out->summary;

    s->tsc_hz = arch_tsc_hz;
    s->boot_tsc = boot_info.start_tsc;
    s->kernel_tsc = boot_info.kernel_tsc;
    s->wall_seconds = boot_info.wall_seconds;
    s->kernel_bytes = kmem_total_bytes();
    s->kernel_free = kmem_free_bytes() + kmem_free_object_bytes() + arch_stack_free_bytes();
    s->guest_bytes = frame_total_bytes();
    s->guest_free = frame_free_bytes();
    s->cpus = boot_online_count();
    s->modules = boot_info.module_count;
    s->cpus_found = boot_info.cpu_count;
    s->virt = virt != NULL;
    s->flags = boot_info.flags;
    for (u32 i = 0; i < sizeof(s->virt_name) - 1 && boot_virt_name()[i]; i++) {
        s->virt_name[i] = boot_virt_name()[i];
    }
    return sizeof(*s);
}

static s64 info_cpu(const struct call *k, union info *out)
{
    if (k->c >= cpu_count) {
        return E_NOT_FOUND;
    }
    const struct cpu *c = cpus[k->c];
    u64 idle = c->idle_tsc, since = c->idle->started_tsc, now = arch_tsc();

    /* an idle CPU has no tick that would keep its account up to date */
    if (__atomic_load_n(&c->running, __ATOMIC_RELAXED) == c->idle && now > since) {
        idle += now - since;
    }
    out->cpu = (struct system_cpu){idle,      c->user_tsc, c->interrupts, c->switches,
                                   c->steals, c->apic_id,  c->online};
    return sizeof(out->cpu);
}

static s64 info_module(const struct call *k, union info *out)
{
    if (k->c >= boot_info.module_count) {
        return E_NOT_FOUND;
    }
    const struct boot_module *b = &boot_info.modules[k->c];
    struct memory *m = memory_from_module(b->base, b->bytes);
    if (!m) {
        return E_NO_MEMORY;
    }
    s64 h = syscall_new_handle(k->p, &m->object, RIGHT_READ | RIGHT_EXEC | RIGHT_GRANT);
    if (h < 0) {
        return h;
    }
    out->module.bytes = b->bytes;
    out->module.kind = b->kind;
    out->module.handle = (handle_t)h;
    memcpy(out->module.name, b->name, sizeof(out->module.name));
    return sizeof(out->module);
}

static s64 info_isolation(UNUSED const struct call *k, union info *out)
{
    isolation_check(&out->isolation);
    return sizeof(out->isolation);
}

static s64 info_self_test(const struct call *k, union info *out)
{
    if (k->c > ~0u || !selftest_run((u32)k->c, &out->test)) {
        return E_NOT_FOUND;
    }
    return sizeof(out->test);
}

s64 sys_system_info(const struct call *k)
{
    static s64 (*const table[])(const struct call *k, union info *out) = {
        [SYSTEM_SUMMARY] = info_summary,     [SYSTEM_CPU] = info_cpu,
        [SYSTEM_MODULE] = info_module,       [SYSTEM_ISOLATION] = info_isolation,
        [SYSTEM_SELF_TEST] = info_self_test,
    };
    union info info;

    if (k->b >= ARRAY_SIZE(table)) {
        return E_INVAL;
    }
    memset(&info, 0, sizeof(info));
    s64 n = table[k->b](k, &info);
    if (n > 0 && (k->e < (u64)n || arch_copy_to_user(k->d, &info, (u64)n))) {
        if (k->b == SYSTEM_MODULE) {
            handle_close(k->p, info.module.handle);
        }
        return k->e < (u64)n ? E_INVAL : E_FAULT;
    }
    return n;
}

s64 sys_system_power(const struct call *k)
{
    if (k->b > POWER_PANIC) {
        return E_INVAL;
    }
    boot_shutdown((u32)k->b);
}
