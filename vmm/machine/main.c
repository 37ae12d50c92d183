/* SPDX-License-Identifier: MIT */
/* The VMM: started once per guest. Builds the machine, loads the image, runs the guest until it
 * ends. */
#include "lib/string.h"
#include "vmm/load/load.h"
#include "vmm/machine/machine.h"
#include "vmm/sys.h"

#define COM1_IRQ 4

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

static void create_devices(struct machine *m)
{
    bus_reset(&m->board.bus);
    if (!uart16550_attach(&m->com1, m, UART_COM1_PORT, COM1_IRQ) ||
        !debugcon_attach(&m->debugcon, m) || !debugexit_attach(&m->debugexit, m)) {
        machine_end(m, GUEST_VMM_FAULT, "two devices claim one port");
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

/* Other vCPUs wait for a start-up IPI, which needs an interrupt controller; the first starts all.
 */
static void create_boot_vcpu(struct machine *m)
{
    struct vcpu *v = &m->vcpus[0];
    s64 h = sys_vcpu_create(m->start->vm, 0);

    if (h < 0) {
        machine_end(m, GUEST_REFUSED, "no virtual CPU: error %ld", h);
    }
    v->machine = m;
    v->handle = (handle_t)h;
    s64 e = sys_vcpu_get(v->handle, &v->state, VCPU_STATE_ALL);
    if (!e) {
        load(m, &v->state);
        e = sys_vcpu_set(v->handle, &v->state, VCPU_STATE_ALL);
    }
    if (e) {
        machine_end(m, GUEST_REFUSED, "the initial state of the virtual CPU gave error %ld", e);
    }
}

void program_main(u64 arg)
{
    static struct machine machine;
    struct machine *m = &machine;

    m->start = (const struct vmm_start *)arg;
    m->shared = (struct start_shared *)START_SHARED;
    if (m->start->magic != START_MAGIC || m->start->bytes != sizeof(*m->start)) {
        sys_process_exit(GUEST_VMM_FAULT); /* a manager of another build */
    }
    console_init(m);
    m->board.phys_bits = m->start->phys_bits;
    create_ram(m);
    create_devices(m);
    create_boot_vcpu(m);
    vcpu_loop(&m->vcpus[0]);
}
