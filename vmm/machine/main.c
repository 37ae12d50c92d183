/* SPDX-License-Identifier: MIT */
/* The VMM: started once per guest. Builds the machine, loads the image, runs the guest until it
 * ends. */
#include "lib/hw/acpi_pm.h"
#include "lib/hw/lapic.h"
#include "lib/string.h"
#include "vmm/load/load.h"
#include "vmm/machine/firmware.h"
#include "vmm/machine/machine.h"
#include "vmm/sys.h"

/* The threads divide the guest's share of CPU time. The devices' thread is woken before others
 * anyway, but gets little when it has much to do. */
#define VCPU_WEIGHT    100
#define DEVICES_WEIGHT 12

NORETURN void program_main(u64 arg);

/* The kernel's budget for this guest is what the manager gave; the rest of the machine has none. */
static void create_ram(struct machine *m)
{
    const struct vmm_start *start = m->start;

    m->board.ram.base = (u8 *)START_GUEST;
    ram_layout(&m->board.ram, start->memory_bytes);
    for (u32 i = 0; i < m->board.ram.count; i++) {
        const struct ram_range *r = &m->board.ram.range[i];
        struct map_args map = {
            .source = start->vm,
            .offset = r->gpa,
            .vaddr = START_GUEST + r->gpa,
            .bytes = r->bytes,
            .flags = MAP_READ | MAP_WRITE,
        };
        s64 e =
            sys_vm_memory(start->vm, GPA(r->gpa), r->bytes, start->populate ? 0 : VM_MEMORY_LAZY);

        if (!e) {
            e = sys_memory_map(&map);
        }
        if (e) {
            machine_end(m, GUEST_REFUSED, "no memory: %lu KiB at %lx gave error %ld",
                        r->bytes / 1024, r->gpa, e);
        }
    }
}

static struct load_file load_file_of(const struct start_file *f)
{
    return (struct load_file){(const u8 *)f->vaddr, f->bytes, f->name, f->args};
}

static void load(struct machine *m, struct vcpu_state *state)
{
    const struct vmm_start *start = m->start;
    struct load_request request = {
        .ram = &m->board.ram,
        .image = start->image,
        .file = load_file_of(&start->file),
        .module_count = start->module_count,
        .options = start->options,
        .load_address = start->load_address,
        .entry = start->entry,
        .mode = start->mode,
    };
    struct load_error error;

    for (u32 i = 0; i < start->module_count; i++) {
        request.modules[i] = load_file_of(&start->modules[i]);
    }
    if (!load_image(&request, state, &error)) {
        console_line(m, "image %s: %s", start->file.name, error.text);
        machine_end(m, GUEST_REFUSED, "image refused");
    }
}

static void create_vcpu(struct machine *m, u32 index)
{
    struct vcpu *v = &m->vcpus[index];
    s64 h = sys_vcpu_create(m->start->vm, index);

    if (h < 0) {
        machine_end(m, GUEST_REFUSED, "no virtual CPU %u: error %ld", index, h);
    }
    *v = (struct vcpu){.machine = m, .handle = (handle_t)h, .index = index};
}

/* What firmware would have left in memory, and that the SCI is a level. */
static void build_firmware(struct machine *m)
{
    struct firmware_args args = {.cpus = m->start->cpus};

    if (!firmware_build(&m->board.ram, &args)) {
        machine_end(m, GUEST_REFUSED, "no room for the firmware's tables");
    }
    m->pic.chips[1].elcr = BIT(PM_SCI - 8);
}

/* Virtual wire mode (MultiProcessor Specification 1.4): the PIC's output reaches the first vCPU
 * through its local APIC. The others' are reset when they are started. */
static void wire_apic(struct machine *m)
{
    static const struct {
        u32 reg, value;
    } writes[] = {
        {APIC_SVR,       SVR_ENABLE | SVR_AFTER_RESET},
        {APIC_LVT_LINT0, APIC_EXTINT                 },
        {APIC_LVT_LINT1, APIC_NMI                    },
    };

    for (u32 i = 0; i < ARRAY_SIZE(writes); i++) {
        sys_vcpu_apic(m->vcpus[0].handle, VCPU_APIC_WRITE | writes[i].reg, writes[i].value);
    }
}

/* The image decides how the first vCPU starts; the others wait for it to start them. */
static void load_boot_vcpu(struct machine *m)
{
    struct vcpu *v = &m->vcpus[0];
    s64 e = sys_vcpu_get(v->handle, &v->state, VCPU_STATE_ALL);

    if (!e) {
        load(m, &v->state);
        e = sys_vcpu_set(v->handle, &v->state, VCPU_STATE_ALL);
    }
    if (e) {
        machine_end(m, GUEST_REFUSED, "the initial state of the virtual CPU gave error %ld", e);
    }
}

/* entry is a function of one argument that never returns: the stack begins as after a call of it.
 */
static void start_thread(struct machine *m, u32 number, u64 entry, void *arg, u32 weight)
{
    struct thread_args args = {
        .entry = entry,
        .stack = START_STACK + (number + 1) * START_STACK_STEP - sizeof(u64),
        .arg = (u64)arg,
        .weight = weight,
    };
    s64 h = sys_thread_create(0, &args);

    if (h < 0) {
        machine_end(m, GUEST_REFUSED, "thread %u could not be started: error %ld", number, h);
    }
    sys_handle_close((handle_t)h);
}

static void start_threads(struct machine *m)
{
    const struct vmm_start *start = m->start;

    start_thread(m, start->cpus, (u64)devices_loop, m, DEVICES_WEIGHT);
    for (u32 i = 1; i < start->cpus; i++) {
        start_thread(m, i, (u64)vcpu_loop, &m->vcpus[i], VCPU_WEIGHT);
    }
}

void program_main(u64 arg)
{
    static struct machine machine;
    struct machine *m = &machine;

    m->start = (const struct vmm_start *)arg;
    m->shared = (struct start_shared *)START_SHARED;
    if (m->start->base.magic != START_MAGIC || m->start->base.bytes != sizeof(*m->start) ||
        m->start->cpus > VM_MAX_CPUS) {
        sys_process_exit(GUEST_VMM_FAULT); /* a manager of another build */
    }
    console_init(m);
    host_init(m);
    m->board.phys_bits = m->start->phys_bits;
    if (lock_init(&m->lock)) {
        machine_end(m, GUEST_REFUSED, "no memory for a lock");
    }
    machine_lock(m);
    create_ram(m);
    devices_create(m);
    for (u32 i = 0; i < m->start->cpus; i++) {
        create_vcpu(m, i);
    }
    build_firmware(m);
    wire_apic(m);
    load_boot_vcpu(m);
    start_threads(m);
    machine_unlock(m);
    vcpu_loop(&m->vcpus[0]);
}
