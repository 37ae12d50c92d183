/* SPDX-License-Identifier: MIT */
/*
 * Ends in the way that the first word of its command line says, mostly badly; delay=N waits N TSC
 * ticks before. Each of these must end this guest, with a reason, and nothing else.
 */
#include "guests/lib/acpi.h"
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/memory.h"
#include "guests/lib/mode.h"
#include "guests/lib/smp.h"
#include "guests/lib/trap.h"
#include "lib/hw/acpi_pm.h"
#include "lib/hw/reset.h"
#include "lib/string.h"

#define FADT_RESET_REG   120 /* the address in RESET_REG */
#define FADT_RESET_VALUE 128
#define CANONICAL_END    0x0000800000000000ull

/* From here on an exception finds no handler, and no double fault handler either. */
static void drop_idt(void)
{
    struct table_pointer none = {0, 0};

    __asm__ volatile("lidt %0" : : "m"(none));
}

static void crash_triple(void)
{
    drop_idt();
    __asm__ volatile("ud2");
}

/* No stack for the #PF, none for the #DF. */
static void crash_stack(void)
{
    trap_set_ist(VEC_DF, 0, 0);
    __asm__ volatile("mov %0, %%rsp; push %0" : : "r"(MAP_AREA));
}

/* Runs off the end of the canonical addresses, on an instruction that the hypervisor has to skip:
 * what comes then is an RIP that VM entry refuses. */
static void crash_state(void)
{
    static const u8 code[] = {0x0f, 0xa2}; /* cpuid */
    u64 page = page_alloc(PAGE_SIZE, PAGE_SIZE);

    memcpy((u8 *)page + PAGE_SIZE - sizeof(code), code, sizeof(code));
    pte_set(CANONICAL_END - PAGE_SIZE, 1, page | PTE_P | PTE_W);
    drop_idt();
    __asm__ volatile("jmp *%0" : : "r"(CANONICAL_END - sizeof(code)));
}

/* Behind the end of the memory, where there is nothing. */
static void crash_jump(void)
{
    u64 to = ALIGN_UP(boot.memory_end, SIZE_2M) + SIZE_2M;

    pte_set(to, 2, to | PTE_P | PTE_W | PTE_PS);
    drop_idt();
    __asm__ volatile("jmp *%0" : : "r"(to));
}

/* Page tables that lie behind the end of the memory. */
static void crash_tables(void)
{
    drop_idt();
    write_cr3(ALIGN_UP(boot.memory_end, SIZE_2M) + SIZE_2M);
}

/* A page that is not mapped, without an IDT. */
static void crash_unmapped(void)
{
    drop_idt();
    __asm__ volatile("jmp *%0" : : "r"(MAP_AREA));
}

/* An access to where nothing is by an instruction that no device needs. */
static void crash_mmio(void)
{
    volatile void *nowhere = map_window(ALIGN_UP(boot.memory_end, SIZE_2M) + SIZE_2M);

    drop_idt();
    __asm__ volatile("lock cmpxchg8b (%0)" : : "r"(nowhere) : "memory", "cc", "rax", "rdx");
}

/* The IDT itself lies where nothing is: the CPU reads it in the middle of a delivery. */
static void crash_idt(void)
{
    struct table_pointer p = {0xfff, (u64)map_window(ALIGN_UP(boot.memory_end, SIZE_2M) + SIZE_2M)};

    __asm__ volatile("lidt %0; int3" : : "m"(p));
}

/* And the stack of a delivery. */
static void crash_delivery(void)
{
    volatile u8 *nowhere = map_window(ALIGN_UP(boot.memory_end, SIZE_2M) + SIZE_2M);

    trap_set_ist(VEC_BP, 3, (u64)nowhere + PAGE_SIZE);
    __asm__ volatile("int3");
}

/* A task switch, which no system of this century does: nobody emulates it. */
static void crash_task(void)
{
    static const u8 jump[] = {0xea, 0, 0, 0, 0, SEL_TSS, 0};
    struct mode m = {.cr0 = MODE_CR0};

    gdt[SEL_TSS / 8] &= ~(2ull << 40); /* not busy */
    mode_run(&m, jump, sizeof(jump));
}

/* A triple fault in real mode. */
static void crash_real(void)
{
    static const u8 code[] = {0x0f, 0x01, 0x1e, 0x00, 0x90, 0xcc}; /* lidt [0x9000]; int3 */
    struct mode m = {.cr0 = MODE_CR0, .kind = MODE_REAL};

    memset((void *)0x9000, 0, 6);
    mode_run(&m, code, sizeof(code));
}

/* Nothing can wake it. */
static void crash_hlt(void)
{
    __asm__ volatile("cli; hlt");
}

/* Orderly, but not well. */
static void crash_exit(void)
{
    guest_exit(42);
}

/* The machine starts again, if it is to. */
static void crash_reset(void)
{
    outb(PORTCF9, PORTCF9_SYS_RST);
    outb(PORTCF9, PORTCF9_SYS_RST | PORTCF9_RST_CPU);
}

static void crash_reset_port92(void)
{
    outb(PORT92, PORT92_A20);
    outb(PORT92, PORT92_A20 | PORT92_RESET);
}

static void crash_reset_i8042(void)
{
    outb(I8042_CMD, I8042_RESET);
}

/* The register and value that the FADT names. */
static void crash_reset_acpi(void)
{
    const u8 *fadt = (const u8 *)acpi_table("FACP");

    if (fadt) {
        outb((u16)(fadt[FADT_RESET_REG] | fadt[FADT_RESET_REG + 1] << 8), fadt[FADT_RESET_VALUE]);
    }
}

/* The soft-off state of ACPI: well. */
static void crash_poweroff(void)
{
    outw(PM_PORT + PM1_CNT, PM1_CNT_SCI_EN | PM_SLP_TYP_S5 << PM1_CNT_SLP_TYP_SHIFT);
    outw(PM_PORT + PM1_CNT,
         PM1_CNT_SCI_EN | PM_SLP_TYP_S5 << PM1_CNT_SLP_TYP_SHIFT | PM1_CNT_SLP_EN);
}

/* The same by another CPU, while this one sleeps for good. */
static void on_other(void (*crash)(void))
{
    if (smp_init() < 2 || !smp_start(1)) {
        print("crasher: ERROR: no second CPU\n");
        guest_exit(1);
    }
    smp_call(1, (smp_work_t)(void *)crash, NULL);
    crash_hlt();
}

static void crash_reset_other(void)
{
    on_other(crash_reset);
}

static void crash_poweroff_other(void)
{
    on_other(crash_poweroff);
}

static void crash_triple_other(void)
{
    on_other(crash_triple);
}

/* Every CPU halted with interrupts off. */
static void crash_hlt_all(void)
{
    on_other(crash_hlt);
}

static const struct {
    const char *name;
    void (*crash)(void);
} ways[] = {
    {"triple",         crash_triple        },
    {"stack",          crash_stack         },
    {"state",          crash_state         },
    {"jump",           crash_jump          },
    {"tables",         crash_tables        },
    {"unmapped",       crash_unmapped      },
    {"mmio",           crash_mmio          },
    {"idt",            crash_idt           },
    {"delivery",       crash_delivery      },
    {"task",           crash_task          },
    {"real",           crash_real          },
    {"hlt",            crash_hlt           },
    {"exit",           crash_exit          },
    {"reset",          crash_reset         },
    {"poweroff",       crash_poweroff      },
    {"reset-port92",   crash_reset_port92  },
    {"reset-i8042",    crash_reset_i8042   },
    {"reset-acpi",     crash_reset_acpi    },
    {"reset-other",    crash_reset_other   },
    {"poweroff-other", crash_poweroff_other},
    {"triple-other",   crash_triple_other  },
    {"hlt-all",        crash_hlt_all       },
};

void guest_main(void)
{
    char word[24] = "triple";
    u64 end = rdtsc() + boot_option_number("delay", 0);

    (void)boot_word(0, word, sizeof(word));
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        if (!strcmp(ways[i].name, word)) {
            print("crashing: %s\n", word);
            while (rdtsc() < end) {
                cpu_pause();
            }
            ways[i].crash();
            print("crasher: ERROR: still here\n");
            guest_exit(1);
        }
    }
    print("crasher: ERROR: no way of that name: %s\n", word);
    guest_exit(1);
}
