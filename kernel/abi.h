/* SPDX-License-Identifier: MIT */
/*
 * The one header that ring 3 shares with the microkernel: system calls, error codes, rights and the
 * structures that pass between them. It stands alone but for lib/types.h.
 *
 * Calling convention: SYSCALL with the number in RAX and arguments in RDI, RSI, RDX, R10, R8, R9.
 * RAX returns a value >= 0 or a negative E_*. RCX and R11 are lost; SYS_VCPU_RUN also returns in
 * RDI, RSI, RDX, R8, R9 and R10 (struct vcpu_exit); all other registers are kept.
 * Ring 3 has no FPU: its first use of one ends the process.
 *
 * Every argument is untrusted. A wrong one is an error code, never a fault in the kernel.
 */
#ifndef KERNEL_ABI_H
#define KERNEL_ABI_H

#include "lib/types.h"

/* Errors. */
enum {
    E_OK = 0,
    E_INVAL = -1,       /* an argument is out of its range */
    E_HANDLE = -2,      /* no such handle, or of another type */
    E_RIGHTS = -3,      /* the handle lacks the right */
    E_NO_MEMORY = -4,   /* memory or the process's budget is used up */
    E_FAULT = -5,       /* a user address is not mapped, or not with that permission */
    E_BUSY = -6,        /* in use: a vCPU that another thread runs, a mapped range */
    E_TIMEOUT = -7,     /* the deadline passed */
    E_NO_SYSCALL = -8,  /* unknown system call number */
    E_UNSUPPORTED = -9, /* this machine cannot do it */
    E_DEAD = -10,       /* the process has ended */
    E_LIMIT = -11,      /* a fixed limit of the kernel (threads, handles, vCPUs) */
    E_IO = -12,         /* a device did not do what was asked */
    E_NOT_FOUND = -13,  /* no such name or index */
};

typedef u32 handle_t; /* index into the process's handle table; 0 is never valid */

/* Rights. What a right means depends on the object; SYS_HANDLE_GRANT can only remove some. */
#define RIGHT_READ    BIT(0) /* memory: map for reading; vm: statistics; event: wait */
#define RIGHT_WRITE   BIT(1) /* memory: map for writing; event: signal; console: write */
#define RIGHT_EXEC    BIT(2) /* memory: map for execution (not with writing); system: devices */
#define RIGHT_CONTROL BIT(3) /* process: map, threads, kill; vm: memory, vCPUs; vcpu: run */
#define RIGHT_GRANT   BIT(4) /* may be passed on */
#define RIGHTS_ALL    FIELD(4, 0)

#define USER_BASE     0x10000ull            /* lowest address that can be mapped */
#define USER_TOP      0x00007f0000000000ull /* first address that cannot */

/* System calls. "h:X" is a handle of type X and the right it needs. */
enum {
    /* (status) -> never. Ends the calling process; status is for its creator. */
    SYS_PROCESS_EXIT,
    /* (h) */
    SYS_HANDLE_CLOSE,
    /* (h:process CONTROL, h with GRANT, rights) -> the new handle in that process */
    SYS_HANDLE_GRANT,
    /* (struct process_args *) -> h:process. Budgets are taken from the caller's own. */
    SYS_PROCESS_CREATE,
    /* (h:process CONTROL): all its threads end, its objects go. Asynchronous: its event tells. */
    SYS_PROCESS_KILL,
    /* (h:process READ, struct process_info *) */
    SYS_PROCESS_INFO,
    /* (h:process CONTROL, struct thread_args *) -> h:thread. h 0 means the caller's process. */
    SYS_THREAD_CREATE,
    /* (h:thread CONTROL, weight, affinity mask of CPUs): as in struct thread_args, without 0 */
    SYS_THREAD_SET,
    /* (bytes) -> h:memory, zeroed, whole pages, charged to the caller */
    SYS_MEMORY_CREATE,
    /* (struct map_args *): maps memory or a window of a vm's guest memory into a process */
    SYS_MEMORY_MAP,
    /* (h:process CONTROL or 0, vaddr, bytes): must be exactly a range that was mapped */
    SYS_MEMORY_UNMAP,
    /* () -> h:event, a word of notification bits */
    SYS_EVENT_CREATE,
    /* (h:event WRITE, bits) */
    SYS_EVENT_SIGNAL,
    /* (h:event READ, mask, deadline in TSC ticks or 0 for none) -> bits of mask that were set, now
     * cleared; E_TIMEOUT. Bit 63 is not usable. A deadline in the past polls. */
    SYS_EVENT_WAIT,
    /* (struct vm_args *) -> h:vm */
    SYS_VM_CREATE,
    /* (h:vm CONTROL, gpa, bytes, VM_MEMORY_*): gives the guest zeroed RAM there, charged
     * to the vm's payer */
    SYS_VM_MEMORY,
    /* (h:vm READ, struct vm_stats *) */
    SYS_VM_STATS,
    /* (h:vm CONTROL, address, data): a message-signalled interrupt in the PCI format -> number of
     * local APICs that took it. From any thread */
    SYS_VM_INTERRUPT,
    /* (h:vm CONTROL, level 0 or 1): the output of the guest's PIC, which is wired to LINT0 of every
     * local APIC of the vm. From any thread */
    SYS_VM_LINE,
    /* (h:vm CONTROL, index) -> h:vcpu. State as after INIT: 16-bit real mode at F000:FFF0; but for
     * index 0, it waits for SIPI. It is bound to the first thread that calls one of those below,
     * and this thread to it: until the thread ends all others get E_BUSY, but for NMI and kick. */
    SYS_VCPU_CREATE,
    /* (h:vcpu CONTROL, VCPU_RUN_*, value, address or 0) -> VX_* and struct vcpu_exit in registers;
     * at VX_MMIO gpr[] of it is stored at the address */
    SYS_VCPU_RUN,
    /* (h:vcpu CONTROL, struct vcpu_state *, groups VCPU_STATE_*): by the vCPU's thread; only those
     * groups are stored or read */
    SYS_VCPU_GET,
    SYS_VCPU_SET,
    /* (h:vcpu CONTROL, buffer of VCPU_REPORT_BYTES): the CPU's own control structure of the vCPU,
     * by which its thread can tell why an entry fails. Host addresses in it are no secret. */
    SYS_VCPU_REPORT,
    /* (h:vcpu CONTROL, vector, VCPU_INJECT_*, error code, cr2) */
    SYS_VCPU_INJECT,
    /* (h:vcpu CONTROL, VCPU_APIC_WRITE or 0 | offset in the APIC page, value) -> the value read, 0
     * for a write. A 32-bit access to the vCPU's local APIC as through its page; by its thread */
    SYS_VCPU_APIC,
    /* (h:system, buffer, bytes) -> bytes written, possibly fewer: the device takes no more now */
    SYS_CONSOLE_WRITE,
    /* (h:system EXEC, port or PORT_WRITE | port, value) -> the byte read, 0 for a write. Only ports
     * of the devices that ring 3 drives: keyboard controller, COM1 */
    SYS_PORT,
    /* (h:system EXEC, h:event WRITE, line): from now on each interrupt of that ISA line, of those
     * devices, sets IRQ_BIT(line) of the event. Once and for all: E_BUSY after that */
    SYS_IRQ,
    /* (h:system READ, SYSTEM_*, index, buffer, bytes) -> bytes written */
    SYS_SYSTEM_INFO,
    /* (h:system CONTROL, POWER_*) -> only on error */
    SYS_SYSTEM_POWER,
    SYS_COUNT
};

/* Processes. */
#define NAME_LEN 24

struct process_args {
    char name[NAME_LEN]; /* NUL-terminated, printable; for reports */
    u64 memory_bytes;    /* budget of frames (memory and guest RAM) */
    u64 kernel_bytes;    /* budget of kernel memory: page tables, threads, vCPUs, objects */
    handle_t event;      /* h:event WRITE, signalled at the end of the process; 0: none */
    u32 weight; /* share of CPU time, 1..10000, 100 is normal: all its threads together get so much
                 * where CPUs are scarce. Of the first program only; 0: they are part of the
                 * caller's share */
    u64 event_bits;
    u64 affinity; /* mask of the CPUs that its threads, and those of the processes it starts, may
                   * ever have; the caller's own CPUs are all there are, and are meant by 0 */
};

enum process_end {
    PROCESS_RUNNING,
    PROCESS_EXITED, /* SYS_PROCESS_EXIT; status is its argument */
    PROCESS_KILLED, /* SYS_PROCESS_KILL */
    PROCESS_FAULT,  /* CPU exception; status is the vector, address the faulting RIP */
};

struct process_info {
    u32 end; /* enum process_end */
    u32 threads;
    s64 status;
    u64 address;
    u64 run_tsc;      /* CPU time of its threads, guests included */
    u64 memory_bytes; /* used now */
    u64 kernel_bytes; /* used now */
};

struct thread_args {
    u64 entry, stack, arg; /* RIP, RSP, RDI at the start; all other registers are 0 */
    u64 affinity;          /* mask of CPUs, of which the process's are taken; 0 means all */
    u32 weight;            /* beside the others of its process's share, 1..10000, 0 means 100 */
    u32 pad;
};

/* What the scheduler gave a thread. */
struct thread_times {
    u64 run_tsc;
    u64 wait_tsc, longest_wait_tsc; /* runnable, and another one ran */
    u64 lag_tsc; /* the most that it was behind the average of its CPU, when its turn came */
};

/* Memory. */
#define MAP_READ  BIT(0)
#define MAP_WRITE BIT(1)
#define MAP_EXEC  BIT(2) /* not together with MAP_WRITE */

struct map_args {
    handle_t process; /* CONTROL; 0 means the caller's own */
    handle_t source;  /* h:memory, or h:vm CONTROL: offset is then a guest-physical address */
    u64 offset, vaddr, bytes; /* page multiples */
    u64 flags;                /* MAP_* */
};

/* Virtual machines. */
#define VM_MAX_CPUS 16

struct vm_args {
    char name[NAME_LEN];
    u32 cpus; /* 1..VM_MAX_CPUS */
    handle_t
        payer; /* h:process CONTROL whose budgets pay for RAM, tables and vCPUs; 0: the caller */
    u32 flags; /* VM_* */
    u32 pad;
};

#define VM_APICV BIT(0) /* x2APICs by the CPU's APIC virtualization, if it has that */

#define VM_MEMORY_LAZY                                                                             \
    BIT(0) /* frames come at first touch, 4 KiB each; else now, in large leaves */

/* Why a vCPU left guest mode, as the statistics count it. One list: enum, names. */
#define EXIT_KINDS(X)                                                                              \
    X(CPUID, "cpuid")                                                                              \
    X(RDMSR, "rdmsr")                                                                              \
    X(WRMSR, "wrmsr")                                                                              \
    X(IO, "io")                                                                                    \
    X(HLT, "hlt")                                                                                  \
    X(PAUSE, "pause")                                                                              \
    X(CR, "cr")                                                                                    \
    X(DR, "dr")                                                                                    \
    X(NPF, "ept-violation")                                                                        \
    X(HYPERCALL, "hypercall")                                                                      \
    X(INTERRUPT, "interrupt")                                                                      \
    X(NMI, "nmi")                                                                                  \
    X(TIMER, "timer")                                                                              \
    X(INTR_WINDOW, "intr-window")                                                                  \
    X(NMI_WINDOW, "nmi-window")                                                                    \
    X(EXCEPTION, "exception")                                                                      \
    X(XSETBV, "xsetbv")                                                                            \
    X(WBINVD, "wbinvd")                                                                            \
    X(DESCRIPTOR, "descriptor")                                                                    \
    X(UNDEFINED, "undefined")                                                                      \
    X(INIT, "init")                                                                                \
    X(SIPI, "sipi")                                                                                \
    X(EOI, "eoi")                                                                                  \
    X(TRIPLE_FAULT, "triple-fault")                                                                \
    X(ENTRY_FAILURE, "entry-failure")                                                              \
    X(UNKNOWN, "unknown")

#define EXIT_ENUM(id, name) EXIT_##id,
enum exit_kind { EXIT_KINDS(EXIT_ENUM) EXIT_COUNT };
#undef EXIT_ENUM

struct vm_stats {
    u64 exits[EXIT_COUNT];
    u64 exits_total;
    u64 guest_tsc;                         /* time in guest mode and in exits, all vCPUs */
    u64 start_tsc;                         /* first entry, 0 when never entered */
    u64 memory_bytes;                      /* frames held */
    u64 table_bytes;                       /* nested page tables */
    struct thread_times vcpu[VM_MAX_CPUS]; /* of the threads that ran each */
};

/* SYS_VCPU_RUN: what to do with the instruction that caused the last exit. */
#define VCPU_RUN_RETRY   0      /* run it again (or go on, where the exit says so) */
#define VCPU_RUN_ADVANCE BIT(0) /* it is done: skip it */
#define VCPU_RUN_VALUE                                                                             \
    BIT(1) /* value is the result of an IN; with ADVANCE. After VX_INTA: the                       \
              vector, alone */
/* After VX_MMIO: ADVANCE needs the instruction's length (1..15); VALUE, with it, goes to a
 * register, enum gpr_index but RSP; FLAGS: bits 11:0 of RFLAGS, of which the arithmetic flags are
 * taken. */
#define VCPU_RUN_FLAGS        BIT(2)
#define VCPU_RUN_LENGTH_SHIFT 8
#define VCPU_RUN_LENGTH       FIELD(11, 8)
#define VCPU_RUN_GPR_SHIFT    16
#define VCPU_RUN_GPR          FIELD(19, 16)
#define VCPU_RUN_RFLAGS_SHIFT 20
#define VCPU_RUN_RFLAGS       FIELD(31, 20)

/* SYS_VCPU_RUN: why it returned. */
enum vcpu_exit_kind {
    VX_IO,     /* port access. a = port | size << 16 | VX_IO_* ; b = value of an OUT;
                  answer with ADVANCE (and VALUE for IN) */
    VX_MMIO,   /* access outside RAM. a = gpa, b = VX_ACCESS_*, c = linear address, d = CR3,
                  e = RIP, and gpr[] */
    VX_HALTED, /* no vCPU of the vm can ever run again: each is in HLT with interrupts off, or
                  waits for SIPI, and nothing is pending. RIP is after the HLT */
    VX_MSR,    /* RDMSR or WRMSR of one of KVM's (lib/hw/kvm.h). a = number | VX_MSR_*, b = value
                  of a WRMSR, c and d as with VX_CLOCK; answer with ADVANCE (and VALUE for RDMSR) */
    VX_TRIPLE_FAULT,  /* shutdown */
    VX_ENTRY_FAILURE, /* state that the CPU refuses. a = hardware reason, b = qualification */
    VX_UNKNOWN,       /* an exit nobody handles. a = hardware reason, b = qualification */
    VX_NO_MEMORY,     /* first touch of lazy memory and none was left. a = gpa */
    VX_KICKED, /* VCPU_INJECT_KICK, or SYS_VCPU_REPORT has news; nothing happened in the guest */
    VX_INTA,   /* the vCPU takes an interrupt from the PIC: acknowledge it and answer with
                  VALUE, the vector. RETRY: there is none any more */
    VX_DECODE, /* the CPU does not tell enough about the instruction at RIP: answer with its
                  length (VCPU_RUN_LENGTH) and, of a MOV to or from a control register, the
                  general one (VCPU_RUN_GPR). RETRY: the guest runs it again. a = hardware
                  reason */
    VX_EOI,    /* a level-triggered interrupt has ended. a = vector; nothing to answer */
    VX_CLOCK,  /* the guest has set its TSC, or waited for a CPU, if VX_MSR enabled steal time.
                  c = TSC offset, d = ticks that the vCPU's thread has waited; nothing to
                  answer */
};

#define VX_MSR_READ     BIT(32)

#define VCPU_APIC_WRITE BIT(31) /* SYS_VCPU_APIC: with the offset */

#define VX_IO_IN        BIT(24)
#define VX_IO_STRING    BIT(25)
#define VX_IO_REP       BIT(26)
/* string forms: d = address size in bytes (2, 4, 8), 0 where the CPU does not tell; the rest is in
 * the state */

#define VX_ACCESS_READ         BIT(0)
#define VX_ACCESS_WRITE        BIT(1)
#define VX_ACCESS_EXEC         BIT(2)
#define VX_ACCESS_LINEAR_VALID BIT(3) /* c holds the linear address */
#define VX_ACCESS_WALK         BIT(4) /* the access was the CPU's own page walk */
#define VX_ACCESS_EVENT        BIT(5) /* during the delivery of an event: RIP tells nothing */
#define VX_ACCESS_APIC                                                                             \
    BIT(6) /* gpa is in the vCPU's APIC page: the access is SYS_VCPU_APIC's to carry out */

#define VX_ACCESS_CODE64 BIT(7) /* 64-bit code */
#define VX_ACCESS_LA57   BIT(8) /* with CR4.LA57 */

struct vcpu_exit {
    u64 kind;             /* VX_*, as returned in RAX */
    u64 a, b, c, d, e, f; /* RDI, RSI, RDX, R8, R9, R10 */
    u64 gpr[16];          /* enum gpr_index without RSP; in memory, at VX_MMIO */
};

/* vCPU state. Groups can be read and written apart. */
#define VCPU_STATE_GPR   BIT(0) /* gpr, rip, rflags */
#define VCPU_STATE_SYS   BIT(1) /* segments, tables, control registers, efer */
#define VCPU_STATE_MSR   BIT(2) /* xcr0, the msr_ fields, dr7, pending_debug */
#define VCPU_STATE_EVENT BIT(3) /* interruptibility, activity */
#define VCPU_STATE_ALL   FIELD(3, 0)

enum seg_index { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };
enum gpr_index { /* ModRM order */
                 GPR_RAX,
                 GPR_RCX,
                 GPR_RDX,
                 GPR_RBX,
                 GPR_RSP,
                 GPR_RBP,
                 GPR_RSI,
                 GPR_RDI,
                 GPR_R8,
                 GPR_R9,
                 GPR_R10,
                 GPR_R11,
                 GPR_R12,
                 GPR_R13,
                 GPR_R14,
                 GPR_R15,
                 GPR_COUNT
};

/* access rights in the format of a descriptor's bytes 5 and 6: type 3:0, S 4, DPL 6:5, P 7, AVL 12,
 * L 13, D/B 14, G 15; bit 16 set: unusable (SDM 3C "Guest Register State") */
#define SEG_AR_UNUSABLE BIT(16)

struct vcpu_seg {
    u64 base;
    u32 limit;
    u32 access;
    u16 selector;
    u16 pad[3];
};

/* In the order of the groups. */
struct vcpu_state {
    u64 gpr[GPR_COUNT];
    u64 rip, rflags;
    struct vcpu_seg seg[SEG_COUNT];
    u64 gdt_base, idt_base;
    u32 gdt_limit, idt_limit;
    u64 cr0, cr2, cr3, cr4, cr8, efer; /* as the guest sees them */
    u64 xcr0;
    u64 msr_star, msr_lstar, msr_cstar, msr_fmask, msr_kernel_gs_base, msr_tsc_aux;
    u64 msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip, msr_pat, msr_debugctl;
    u64 dr7, pending_debug;
    u32 interruptibility; /* BLOCKED_BY_* */
    u32 halted;           /* VCPU_ACTIVE, VCPU_HALTED, VCPU_WAIT_SIPI */
};

/* SDM 3C "Guest Non-Register State" */
#define BLOCKED_BY_STI    BIT(0)
#define BLOCKED_BY_MOV_SS BIT(1)
#define BLOCKED_BY_SMI    BIT(2) /* never */
#define BLOCKED_BY_NMI    BIT(3)

enum vcpu_activity {
    VCPU_ACTIVE,
    VCPU_HALTED,    /* HLT was executed */
    VCPU_WAIT_SIPI, /* after INIT, and from the beginning but for vCPU 0 */
};

/* SYS_VCPU_REPORT: its first word says what follows. */
#define VCPU_REPORT_BYTES 2048
enum vcpu_report_kind {
    VCPU_REPORT_VMX = 1, /* struct vmx_report, lib/hw/vmcs.h */
    VCPU_REPORT_SVM,     /* struct svm_report, lib/hw/vmcb.h */
};

#define VCPU_INJECT_EXCEPTION  0      /* vector 0..31 as an exception (merged with one in flight) */
#define VCPU_INJECT_ERROR_CODE BIT(0) /* the exception pushes the error code */
#define VCPU_INJECT_CR2        BIT(1) /* set CR2 too (#PF) */
#define VCPU_INJECT_NMI        BIT(3)
#define VCPU_INJECT_KICK       BIT(4) /* makes SYS_VCPU_RUN return VX_KICKED */
/* NMI and kick may come from any thread; exceptions only from the vCPU's own. */

/* Devices that ring 3 drives. */
#define PORT_WRITE    BIT(16)
#define IRQ_LINES     16
#define IRQ_BIT(line) BIT(32 + (line))

/* System. */
enum system_info {
    SYSTEM_SUMMARY,   /* struct system_summary */
    SYSTEM_CPU,       /* index: CPU; struct system_cpu */
    SYSTEM_MODULE,    /* index: module; struct system_module */
    SYSTEM_ISOLATION, /* struct isolation_report, computed now from the live tables */
    SYSTEM_SELF_TEST, /* index: number of a kernel test; struct system_test */
};

struct system_summary {
    u64 tsc_hz;
    u64 boot_tsc;     /* TSC when the loader started */
    u64 kernel_tsc;   /* and when it started the kernel */
    u64 wall_seconds; /* the time then, since 1970 in UTC; 0: not known */
    u64 kernel_bytes, kernel_free;
    u64 guest_bytes, guest_free;
    u32 cpus, modules;        /* CPUs that run */
    u32 cpus_found, pad;      /* that the loader has found */
    u32 virt;                 /* 1: guests can run; 0: no virtualization on this machine */
    u32 flags;                /* BOOT_FLAG_* */
    char virt_name[NAME_LEN]; /* "VT-x", "AMD-V" or the reason why there is none */
};

struct system_cpu {
    u64 idle_tsc, user_tsc;
    u64 interrupts, switches, steals;
    u32 apic_id, online;
};

enum module_kind {                 /* the numbers of enum boot_module_kind */
                   MODULE_CONFIG,  /* socle.conf */
                   MODULE_PROGRAM, /* a ring-3 program */
                   MODULE_FILE,    /* a file that the configuration names */
};

struct system_module {
    u64 bytes;             /* true length of the file */
    u32 kind, pad;         /* enum module_kind */
    handle_t handle, pad2; /* a fresh h:memory READ|EXEC... of the module */
    char name[96];
};

struct isolation_report {
    u64 pages; /* physical pages looked at */
    u64 kernel_pages, process_pages, guest_pages, module_pages, free_pages, firmware_pages;
    u64 ept_leaves, ept_pages, tables;
    u64 wrong_owner;       /* pages with two owners, or none */
    u64 ept_foreign;       /* pages in a guest's tables that are not that guest's own */
    u64 kernel_maps_guest; /* guest-pool frames in the kernel's half */
    u64 write_exec;        /* leaves that are writable and executable, in the kernel or a process */
    u64 process_foreign;   /* pages in a process's tables that belong to somebody else's guest */
};

struct system_test {
    char name[40];
    u32 passed, pad;
};

enum power_action {
    POWER_OFF,
    POWER_REBOOT,
    POWER_HALT,
    POWER_PANIC, /* a panic on purpose, to see its report: as the operator asks */
};

/* The first program's only handle and what every program finds in RDI when it starts. */
#define HANDLE_SYSTEM 1 /* h:system, all rights, in the manager alone */

#endif
