/* SPDX-License-Identifier: MIT */
/* Every way to fault in ring 3: each ends the process, with the right vector, and nothing else.
 * Some of these do not fault on some CPUs; then the process ends by itself. */
#include "tests/ring3/ring3.h"

#include <cpuid.h>

#include "lib/string.h"

#define V(n)          BIT(n)
#define V_DE          V(0)
#define V_DB          V(1)
#define V_BP          V(3)
#define V_UD          V(6)
#define V_NM          V(7)
#define V_SS          V(12)
#define V_GP          V(13)
#define V_PF          V(14)
#define V_MF          V(16)
#define NO_FAULT      BIT(32) /* may also go on, and end well */
#define NO_FAULT_TCG  BIT(33) /* on QEMU's own CPU, whose XSAVE does not look at CR0.TS */
#define V_XSAVE       (V_NM | V_UD | NO_FAULT_TCG)
#define STATUS_WELL   0

#define KERNEL_BASE   "0xffffffff80000000"
#define KERNEL_MAP    "0xffff800000000000"
#define NON_CANONICAL "0x0000800000000000"

/* Code after which the process ends by itself, if it gets there: SYS_PROCESS_EXIT is 0. */
#define WELL "xor %%eax, %%eax\n\txor %%edi, %%edi\n\tsyscall"

#define FAULT(id, text)                                                                            \
    static void fault_##id(void)                                                                   \
    {                                                                                              \
        __asm__ volatile(text "\n\t" WELL : : : "memory");                                         \
    }

FAULT(divide, "xor %%ecx, %%ecx\n\tmov $1, %%eax\n\txor %%edx, %%edx\n\tdivl %%ecx")
FAULT(divide_overflow, "mov $-1, %%edx\n\tmov $1, %%ecx\n\tdivl %%ecx")
FAULT(int1, ".byte 0xf1")
FAULT(int3, "int3")
FAULT(step, "pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop")
FAULT(step_syscall, "pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tmov $9999, %%eax\n\tsyscall\n\tnop")
FAULT(ud2, "ud2")
FAULT(ud_lock, ".byte 0xf0, 0x90")
FAULT(x87, "fninit")
FAULT(mmx, ".byte 0x0f, 0xef, 0xc0")
FAULT(sse, ".byte 0x0f, 0x57, 0xc0")
FAULT(avx, ".byte 0xc5, 0xf4, 0x57, 0xc0")
FAULT(xsave, "sub $4096, %%rsp\n\tand $-64, %%rsp\n\tmov $-1, %%eax\n\tmov $-1, %%edx\n\t.byte "
             "0x0f, 0xae, 0x24, 0x24")
FAULT(read_null, "movq 0, %%rax")
FAULT(write_null, "movq %%rax, 8")
FAULT(exec_null, "xor %%eax, %%eax\n\tjmp *%%rax")
FAULT(write_text, "lea 0(%%rip), %%rax\n\tmovb $0x90, (%%rax)")
FAULT(exec_stack, "movb $0xc3, -64(%%rsp)\n\tlea -64(%%rsp), %%rax\n\tcall *%%rax")
FAULT(read_kernel, "mov $" KERNEL_BASE ", %%rax\n\tmov (%%rax), %%rax")
FAULT(write_kernel, "mov $" KERNEL_BASE ", %%rax\n\tmov %%rax, (%%rax)")
FAULT(exec_kernel, "mov $" KERNEL_BASE ", %%rax\n\tjmp *%%rax")
FAULT(read_pool, "mov $" KERNEL_MAP ", %%rax\n\tadd $0x1000000, %%rax\n\tmov (%%rax), %%rax")
FAULT(write_pool, "mov $" KERNEL_MAP ", %%rax\n\tmov %%rax, (%%rax)")
FAULT(read_top, "mov $-8, %%rax\n\tmov (%%rax), %%rax")
FAULT(read_odd, "mov $" NON_CANONICAL ", %%rax\n\tmov (%%rax), %%rax")
FAULT(jump_odd, "mov $" NON_CANONICAL ", %%rax\n\tjmp *%%rax")
FAULT(stack_odd, "mov $" NON_CANONICAL ", %%rsp\n\tpush %%rax")
FAULT(stack_null, "xor %%esp, %%esp\n\tpush %%rax")
FAULT(stack_kernel, "mov $" KERNEL_BASE ", %%rsp\n\tpush %%rax")
FAULT(stack_kernel_ud, "mov $" KERNEL_BASE ", %%rsp\n\tud2")
FAULT(stack_odd_ud, "mov $" NON_CANONICAL ", %%rsp\n\tud2")
FAULT(stack_odd_call, "mov $" NON_CANONICAL ", %%rsp\n\tmov $9999, %%eax\n\tsyscall")
FAULT(stack_kernel_call, "mov $" KERNEL_MAP ", %%rsp\n\tmov $9999, %%eax\n\tsyscall")
FAULT(stack_end, "1: push %%rax\n\tjmp 1b")
FAULT(hlt, "hlt")
FAULT(cli, "cli")
FAULT(sti, "sti")
FAULT(iopl, "pushfq\n\torl $0x3000, (%%rsp)\n\tpopfq\n\tcli")
FAULT(in, "in $0x60, %%al")
FAULT(out, "mov $0x64, %%dx\n\tmov $0xfe, %%al\n\toutb %%al, %%dx")
FAULT(outs, "mov $0x60, %%dx\n\tmov %%rsp, %%rsi\n\toutsb")
FAULT(rdmsr, "mov $0xc0000082, %%ecx\n\trdmsr")
FAULT(wrmsr, "mov $0xc0000082, %%ecx\n\txor %%eax, %%eax\n\txor %%edx, %%edx\n\twrmsr")
FAULT(rdpmc, "xor %%ecx, %%ecx\n\trdpmc")
FAULT(cr0, "mov %%cr0, %%rax")
FAULT(write_cr0, "xor %%eax, %%eax\n\tmov %%rax, %%cr0")
FAULT(write_cr3, "xor %%eax, %%eax\n\tmov %%rax, %%cr3")
FAULT(write_cr4, "xor %%eax, %%eax\n\tmov %%rax, %%cr4")
FAULT(cr8, "mov %%cr8, %%rax")
FAULT(dr7, "mov %%dr7, %%rax")
FAULT(write_dr0, "mov %%rax, %%dr0")
FAULT(clts, "clts")
FAULT(lmsw, "lmsw %%ax")
FAULT(smsw, "smsw %%rax")
FAULT(sgdt, "sgdt -16(%%rsp)")
FAULT(sidt, "sidt -16(%%rsp)")
FAULT(str, "str %%eax")
FAULT(lgdt, "lgdt -16(%%rsp)")
FAULT(lidt, "lidt -16(%%rsp)")
FAULT(lldt, "xor %%eax, %%eax\n\tlldt %%ax")
FAULT(ltr, "mov $0x28, %%eax\n\tltr %%ax")
FAULT(invlpg, "invlpg (%%rsp)")
FAULT(invd, "invd")
FAULT(wbinvd, "wbinvd")
FAULT(swapgs, "swapgs")
FAULT(sysret, "sysretq")
FAULT(sysenter, "sysenter")
FAULT(sysexit, "sysexitl")
FAULT(xsetbv, "xor %%ecx, %%ecx\n\tmov $1, %%eax\n\txor %%edx, %%edx\n\txsetbv")
FAULT(monitor, "mov %%rsp, %%rax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\t.byte 0x0f, 0x01, 0xc8")
FAULT(rsm, "rsm")
FAULT(vmcall, ".byte 0x0f, 0x01, 0xc1")
FAULT(vmxoff, ".byte 0x0f, 0x01, 0xc4")
FAULT(vmlaunch, ".byte 0x0f, 0x01, 0xc2")
FAULT(vmread, ".byte 0x0f, 0x78, 0xc0")
FAULT(vmxon, "movq $0x1000, -8(%%rsp)\n\t.byte 0xf3, 0x0f, 0xc7, 0x74, 0x24, 0xf8")
FAULT(invept, ".byte 0x66, 0x0f, 0x38, 0x80, 0x04, 0x24")
FAULT(vmrun, ".byte 0x0f, 0x01, 0xd8")
FAULT(getsec, ".byte 0x0f, 0x37")
FAULT(encls, ".byte 0x0f, 0x01, 0xcf")
FAULT(int_20, "int $0x20")
FAULT(int_80, "int $0x80")
FAULT(int_8, "int $8")
FAULT(int_2, "int $2")
FAULT(int_ff, "int $0xff")
FAULT(segment_kernel, "mov $0x10, %%eax\n\tmov %%ax, %%ds")
FAULT(segment_stack, "mov $0x10, %%eax\n\tmov %%ax, %%ss")
FAULT(segment_null_stack, "xor %%eax, %%eax\n\tmov %%ax, %%ss")
FAULT(segment_behind, "mov $0xfff8, %%eax\n\tmov %%ax, %%es")
FAULT(segments_null,
      "xor %%eax, %%eax\n\tmov %%ax, %%ds\n\tmov %%ax, %%es\n\tmov %%ax, %%fs\n\tmov %%ax, %%gs")
FAULT(far_kernel, "push $0x08\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n\t1:")
FAULT(iret_kernel, "push $0x10\n\tpush %%rsp\n\tpushfq\n\tpush $0x08\n\tlea 1f(%%rip), "
                   "%%rax\n\tpush %%rax\n\tiretq\n\t1:")
FAULT(iret_odd, "mov %%ss, %%eax\n\tpush %%rax\n\tpush %%rsp\n\tpushfq\n\tmov %%cs, %%eax\n\tpush "
                "%%rax\n\tmov $" NON_CANONICAL ", %%rax\n\tpush %%rax\n\tiretq")
FAULT(wrgsbase, "mov $" KERNEL_BASE
                ", %%rax\n\t.byte 0xf3, 0x48, 0x0f, 0xae, 0xd8\n\tmov $9999, %%eax\n\tsyscall")
FAULT(
    flags,
    "pushfq\n\torl $0x44c00, (%%rsp)\n\tpopfq\n\tmov $9999, %%eax\n\tsyscall") /* AC, NT, DF, OF */

/* vectors: bits of those that are right. V_PF beside another one: QEMU TCG says so, where a CPU
 * does not. */
static const struct {
    const char *name;
    void (*run)(void);
    u64 vectors;
} faults[] = {
    {"divide by zero",               fault_divide,             V_DE           },
    {"divide overflow",              fault_divide_overflow,    V_DE           },
    {"INT1",                         fault_int1,               V_DB | V_UD    },
    {"INT3",                         fault_int3,               V_BP | V_GP    },
    {"single step",                  fault_step,               V_DB           },
    {"single step over SYSCALL",     fault_step_syscall,       V_DB           },
    {"UD2",                          fault_ud2,                V_UD           },
    {"LOCK NOP",                     fault_ud_lock,            V_UD           },
    {"x87",                          fault_x87,                V_NM           },
    {"MMX",                          fault_mmx,                V_NM | V_UD    },
    {"SSE",                          fault_sse,                V_NM | V_UD    },
    {"AVX",                          fault_avx,                V_NM | V_UD    },
    {"XSAVE",                        fault_xsave,              V_XSAVE        },
    {"read of 0",                    fault_read_null,          V_PF           },
    {"write to 0",                   fault_write_null,         V_PF           },
    {"jump to 0",                    fault_exec_null,          V_PF           },
    {"write to its code",            fault_write_text,         V_PF           },
    {"jump to its stack",            fault_exec_stack,         V_PF           },
    {"read of the kernel",           fault_read_kernel,        V_PF           },
    {"write to the kernel",          fault_write_kernel,       V_PF           },
    {"jump to the kernel",           fault_exec_kernel,        V_PF           },
    {"read of the kernel's pool",    fault_read_pool,          V_PF           },
    {"write to the kernel's pool",   fault_write_pool,         V_PF           },
    {"read of the last word",        fault_read_top,           V_PF           },
    {"read, not canonical",          fault_read_odd,           V_GP           },
    {"jump, not canonical",          fault_jump_odd,           V_GP           },
    {"stack, not canonical",         fault_stack_odd,          V_SS | V_PF    },
    {"stack at 0",                   fault_stack_null,         V_PF           },
    {"stack in the kernel",          fault_stack_kernel,       V_PF           },
    {"UD2 with such a stack",        fault_stack_kernel_ud,    V_UD           },
    {"UD2, stack not canonical",     fault_stack_odd_ud,       V_UD           },
    {"SYSCALL, stack not canonical", fault_stack_odd_call,     NO_FAULT       },
    {"SYSCALL, stack in the kernel", fault_stack_kernel_call,  NO_FAULT       },
    {"stack overflow",               fault_stack_end,          V_PF           },
    {"HLT",                          fault_hlt,                V_GP           },
    {"CLI",                          fault_cli,                V_GP           },
    {"STI",                          fault_sti,                V_GP           },
    {"IOPL 3 and CLI",               fault_iopl,               V_GP           },
    {"IN",                           fault_in,                 V_GP           },
    {"OUT",                          fault_out,                V_GP           },
    {"OUTS",                         fault_outs,               V_GP           },
    {"RDMSR",                        fault_rdmsr,              V_GP           },
    {"WRMSR",                        fault_wrmsr,              V_GP           },
    {"RDPMC",                        fault_rdpmc,              V_GP | V_UD    },
    {"MOV from CR0",                 fault_cr0,                V_GP           },
    {"MOV to CR0",                   fault_write_cr0,          V_GP           },
    {"MOV to CR3",                   fault_write_cr3,          V_GP           },
    {"MOV to CR4",                   fault_write_cr4,          V_GP           },
    {"MOV from CR8",                 fault_cr8,                V_GP           },
    {"MOV from DR7",                 fault_dr7,                V_GP           },
    {"MOV to DR0",                   fault_write_dr0,          V_GP           },
    {"CLTS",                         fault_clts,               V_GP           },
    {"LMSW",                         fault_lmsw,               V_GP           },
    {"SMSW",                         fault_smsw,               V_GP | NO_FAULT},
    {"SGDT",                         fault_sgdt,               V_GP | NO_FAULT},
    {"SIDT",                         fault_sidt,               V_GP | NO_FAULT},
    {"STR",                          fault_str,                V_GP | NO_FAULT},
    {"LGDT",                         fault_lgdt,               V_GP           },
    {"LIDT",                         fault_lidt,               V_GP           },
    {"LLDT",                         fault_lldt,               V_GP           },
    {"LTR",                          fault_ltr,                V_GP           },
    {"INVLPG",                       fault_invlpg,             V_GP           },
    {"INVD",                         fault_invd,               V_GP           },
    {"WBINVD",                       fault_wbinvd,             V_GP           },
    {"SWAPGS",                       fault_swapgs,             V_GP           },
    {"SYSRET",                       fault_sysret,             V_GP           },
    {"SYSENTER",                     fault_sysenter,           V_GP | V_UD    },
    {"SYSEXIT",                      fault_sysexit,            V_GP | V_UD    },
    {"XSETBV",                       fault_xsetbv,             V_GP | V_UD    },
    {"MONITOR",                      fault_monitor,            V_GP | V_UD    },
    {"RSM",                          fault_rsm,                V_UD | V_GP    },
    {"VMCALL",                       fault_vmcall,             V_UD | V_GP    },
    {"VMXOFF",                       fault_vmxoff,             V_UD | V_GP    },
    {"VMLAUNCH",                     fault_vmlaunch,           V_UD | V_GP    },
    {"VMREAD",                       fault_vmread,             V_UD | V_GP    },
    {"VMXON",                        fault_vmxon,              V_UD | V_GP    },
    {"INVEPT",                       fault_invept,             V_UD | V_GP    },
    {"VMRUN",                        fault_vmrun,              V_UD | V_GP    },
    {"GETSEC",                       fault_getsec,             V_UD | V_GP    },
    {"ENCLS",                        fault_encls,              V_UD | V_GP    },
    {"INT 20h",                      fault_int_20,             V_GP           },
    {"INT 80h",                      fault_int_80,             V_GP           },
    {"INT 8",                        fault_int_8,              V_GP           },
    {"INT 2",                        fault_int_2,              V_GP           },
    {"INT ffh",                      fault_int_ff,             V_GP           },
    {"DS of ring 0",                 fault_segment_kernel,     V_GP           },
    {"SS of ring 0",                 fault_segment_stack,      V_GP           },
    {"SS null",                      fault_segment_null_stack, V_GP           },
    {"ES behind the GDT",            fault_segment_behind,     V_GP           },
    {"all segments null",            fault_segments_null,      NO_FAULT       },
    {"far return to ring 0",         fault_far_kernel,         V_GP | V_PF    },
    {"IRET to ring 0",               fault_iret_kernel,        V_GP | V_PF    },
    {"IRET, RIP not canonical",      fault_iret_odd,           V_GP | V_PF    },
    {"WRGSBASE and SYSCALL",         fault_wrgsbase,           V_UD | NO_FAULT},
    {"SYSCALL with AC, NT, DF",      fault_flags,              NO_FAULT       },
};

void scenario_fault(struct child_page *page)
{
    faults[page->args[0] % ARRAY_SIZE(faults)].run();
}

static bool on_tcg(void)
{
    u32 brand[4];

    return __get_cpuid(0x80000002, &brand[0], &brand[1], &brand[2], &brand[3]) &&
           !memcmp(brand, "QEMU TCG CPU", 12);
}

void test_faults(void)
{
    u64 may_go_on = NO_FAULT | (on_tcg() ? NO_FAULT_TCG : 0);

    for (u32 i = 0; i < ARRAY_SIZE(faults); i++) {
        struct child_options o = {.args = {i}};
        struct process_info info;
        struct child c;

        if (!child_make(&c, SCENARIO_FAULT, &o)) {
            return;
        }
        if (child_start(&c, &o) && check(child_wait(&c, 3000, &info), "%s ends", faults[i].name)) {
            bool well = info.end == PROCESS_EXITED && info.status == STATUS_WELL;
            bool fault = info.end == PROCESS_FAULT && info.status < 32;

            check((well && faults[i].vectors & may_go_on) ||
                      (fault && faults[i].vectors >> info.status & 1),
                  "%s: end %u, status %ld at %lx", faults[i].name, info.end, info.status,
                  info.address);
        }
        child_close(&c);
    }
}
