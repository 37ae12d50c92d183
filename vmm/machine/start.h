/* SPDX-License-Identifier: MIT */
/*
 * What the manager leaves in a new process: a page or two of parameters that the process can only
 * read, and an area that both can write. The process believes the parameters; the manager believes
 * nothing in the shared area: it copies a value once, checks the copy and uses that.
 *
 * Layout of a process, by fixed addresses; all ranges have unmapped space on both sides:
 */
#ifndef VMM_MACHINE_START_H
#define VMM_MACHINE_START_H

#include "kernel/abi.h"
#include "lib/config.h"
#include "lib/ring.h"
#include "lib/types.h"
#include "vmm/sys.h"

#define START_PROGRAM 0x00400000ull /* the ELF file's segments */
#define START_PARAMS  0x10000000ull /* struct vmm_start or struct test_start, read only */
#define START_SHARED  0x11000000ull /* struct start_shared */
#define START_STACK                                                                                \
    0x20000000ull /* stack of thread n: ends at START_STACK + (n + 1) * START_STACK_STEP */
#define START_GUEST       0x100000000ull   /* the VMM maps guest-physical 0 here */
#define START_FILES       0x10000000000ull /* image and modules, read only */
#define START_FREE        0x20000000000ull /* nothing of the manager's is at or above this */

#define START_STACK_STEP  0x100000ull
#define START_STACK_BYTES 0x8000ull

/* Threads of a VMM: n runs vCPU n, and the last one the devices. */
#define START_VMM_THREADS(cpus) ((cpus) + 1)

/* The first thread gets the address of the parameters in RDI. */
#define START_MAGIC 0x74726174536c6353ull

/* How a guest ended: the status that its VMM process exits with. */
enum guest_end {
    GUEST_RUNNING,
    GUEST_SUCCESS,    /* debug exit with 0, power-off */
    GUEST_FAILURE,    /* debug exit with another value */
    GUEST_CRASH,      /* triple fault, refused entry, unknown exit, halted for ever */
    GUEST_REFUSED,    /* its image cannot be started, or its memory is not there */
    GUEST_TIME_LIMIT, /* by the manager */
    GUEST_KILLED,     /* by the manager */
    GUEST_VMM_FAULT,  /* its VMM process faulted or said something senseless */
    GUEST_RESET,      /* it reset its machine */
    GUEST_END_COUNT
};

/* A file in the process's memory. */
struct start_file {
    u64 vaddr, bytes;
    char name[96]; /* as in the configuration */
    char args[256];
};

#define START_RING_BYTES  8192 /* of data, guest to host console */
#define START_INPUT_BYTES 4096 /* host to guest */
#define START_TEXT_BYTES  160
#define START_ROOM_PARTS  50 /* of a second: as long as one wait for room lasts at most */

/* Written by the process but for in, whose writer is the manager. */
struct start_shared {
    u32 out_waiting; /* the process waits for room in out: signal its event after reading */
    u32 overruns;    /* of the console's driver: how often bytes were lost on the serial line */
    u32 hold;        /* of a VMM, by the manager: nothing moves until it is 0 again */
    u32 pad[11];
    u64 end_tsc;                   /* when it ended, 0: it did not say */
    char reason[START_TEXT_BYTES]; /* why it ended, set before it exits */
    struct ring_shared in;
    u8 in_data[START_INPUT_BYTES];
    struct ring_shared out ALIGNED(64);
    u8 out_data[START_RING_BYTES];
};

#define EVENT_OUT_ROOM BIT(0) /* the manager has read from out */
#define EVENT_IN_DATA  BIT(1) /* the manager has written to in */
#define EVENT_TIMER    BIT(2) /* among the process's own threads */
#define EVENT_HOLD     BIT(3) /* the manager has changed hold */
#define EVENT_SCREEN   BIT(4) /* the manager wants to see the screen */

/* What the parameters of every process begin with; child_create() of the manager fills it. */
struct start_base {
    u64 magic, bytes; /* START_MAGIC, size of the parameters */
    u64 tsc_hz;
    u64 manager_bits; /* of the manager's event */
    handle_t manager; /* event, WRITE: signal manager_bits when out has a line, or is half full */
    handle_t event;   /* event, READ | WRITE: EVENT_OUT_ROOM and what else the manager signals */
    handle_t system;  /* with what rights the program needs, 0: none */
    u32 pad;
};

/* Tells the manager that there is something in out. */
static inline void start_tell(const struct start_base *base)
{
    sys_event_signal(base->manager, base->manager_bits);
}

/* out is full: tells the manager, and sleeps until it has read, or for a moment. */
static inline void start_wait_room(const struct start_base *base, struct start_shared *shared)
{
    __atomic_store_n(&shared->out_waiting, 1, __ATOMIC_SEQ_CST);
    start_tell(base);
    sys_event_wait(base->event, EVENT_OUT_ROOM, sys_tsc() + base->tsc_hz / START_ROOM_PARTS);
}

struct vmm_start {
    struct start_base base;
    char name[NAME_LEN];
    handle_t vm; /* CONTROL | READ */
    u32 cpus;
    u64 memory_bytes;
    u64 load_address, entry; /* flat images */
    u32 image;               /* enum config_image */
    u32 mode;                /* enum config_mode */
    u32 populate;
    u32 test_device; /* vmm/device/testdev.h is there */
    u32 module_count;
    u32 phys_bits; /* the guest's physical address width */
    u32 pad;
    u64 wall_seconds, wall_tsc; /* since 1970, and the TSC when it was so */
    struct start_file file;
    struct start_file modules[CONFIG_MAX_MODULES];
    char options[2048];
};

/* A segment of the running program. Read-only ones can be mapped again in other processes; of a
 * writable one, memory holds the contents as they were at the start. */
struct start_segment {
    u64 vaddr, bytes;
    handle_t memory; /* READ, EXEC where executable, GRANT */
    u32 flags;       /* MAP_* */
};

/*
 * The parameters of selftest.elf: a process of hostile tests. It writes lines to out like a guest,
 * and exits with 0 when all is well, with the number of failures otherwise.
 */
struct test_start {
    struct start_base base;
    u32 virt;  /* 1: guests can run here */
    u64 entry; /* of the program, for processes that run it again */
    u32 segment_count, pad;
    struct start_segment segments[8];
};

/* The parameters of input.elf: the driver of what a person types on. The bytes go to out. */
struct input_start {
    struct start_base base;
    u32 devices; /* INPUT_* */
};

#define INPUT_SERIAL   BIT(0) /* COM1 */
#define INPUT_KEYBOARD BIT(1) /* the PS/2 keyboard */

_Static_assert(offsetof(struct start_shared, in_data) ==
                   offsetof(struct start_shared, in) + sizeof(struct ring_shared),
               "ring data follows its header");
_Static_assert(offsetof(struct start_shared, out_data) ==
                   offsetof(struct start_shared, out) + sizeof(struct ring_shared),
               "ring data follows its header");

#endif
