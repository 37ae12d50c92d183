/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's local APIC: registers, priorities, local vector table, timer; and the messages between
 * the local APICs of a vm. SDM 3A "Advanced Programmable Interrupt Controller (APIC)".
 *
 * The registers belong to the thread that runs the vCPU. Others put what they send into shared
 * words, set a hazard and wake the thread, which collects it before it enters the guest again.
 *
 * Posted interrupts (SDM 3C "Posted-Interrupt Processing"): the words of edge-triggered vectors are
 * a descriptor, from which a CPU that is in the guest collects by itself when it is notified. All
 * else is as without: the notification is the kick, it does no harm to whoever gets it in the
 * guest's place, and VCPU_HAZARD_POSTED is set first, so that a thread that is elsewhere, or on its
 * way to HLT, finds what came in. What the CPU has taken already is then not there any more.
 *
 * Deviations: the page stays at 0xfee00000 (another base is refused with #GP), the APIC ID is
 * read-only, SMIs are dropped, "lowest priority" takes turns, and a periodic timer has a shortest
 * period of 20 us.
 */
#ifndef KERNEL_APIC_H
#define KERNEL_APIC_H

#include "kernel/abi.h"
#include "lib/hw/lapic.h"
#include "lib/types.h"

struct vcpu;
struct vm;

#define APIC_NEVER (~0ull)

/* apic.address, what senders look at: */
#define APIC_AT_ENABLED  BIT(31) /* in IA32_APIC_BASE */
#define APIC_AT_X2APIC   BIT(30)
#define APIC_AT_SOFTWARE BIT(29) /* in the spurious vector register */
#define APIC_AT_FLAT     BIT(28) /* DFR */
#define APIC_AT_LOGICAL  FIELD(7, 0)

/* apic.start: */
#define APIC_START_INIT   BIT(0)
#define APIC_START_SIPI   BIT(1)
#define APIC_START_VECTOR FIELD(15, 8)

/* apic.signals: */
#define APIC_SIGNAL_LINE   BIT(0) /* the PIC's output is up */
#define APIC_SIGNAL_ROSE   BIT(1) /* it went up */
#define APIC_SIGNAL_EXTINT BIT(2) /* an ExtINT message came in */

struct apic {
    u32 *regs; /* a page in the layout of the APIC page; ICR has 64 bits at its offset in x2APIC */
    u64 base;  /* IA32_APIC_BASE */
    u32 irr_words, isr_words; /* bit n: word n of IRR, of ISR, is not 0 */
    u32 errors;               /* what the next write to ESR shows */
    u8 ended;                 /* VCPU_HAZARD_EOI: the vector */
    bool virtualized;         /* the CPU works on regs: irr_words, isr_words by apic_refresh() */
    u64 timer_tsc;            /* host TSC of the timer's next expiry, or APIC_NEVER */
    u64 period;               /* of the timer, in TSC ticks */
    u64 deadline;             /* IA32_TSC_DEADLINE, in the guest's TSC; 0: not armed */

    /* Shared. The first 64 bytes are the posted-interrupt descriptor: requests, and "outstanding
     * notification" in bit 0 of news[0]. There is no IOMMU, which alone would want the rest. */
    u64 edge[4] ALIGNED(64); /* vectors that came in edge-triggered */
    u64 news[4];             /* [0], [1]: some bit of edge, of level, is set */
    u64 level[4];            /* vectors that came in level-triggered, and illegal ones */
    u32 posted;              /* in the guest the CPU takes what is in edge */
    u32 address;             /* APIC_AT_* */
    u32 start;               /* APIC_START_*: INIT and SIPI that came in */
    u32 signals;             /* APIC_SIGNAL_* */
};

#define APIC_REG(a, offset) ((a)->regs[(offset) / 4])

/* Number of the highest bit that is set; there is one. */
static inline u32 apic_bit(u32 bits)
{
    return (u32)__builtin_clz(bits) ^ 31;
}

/* The highest vector of IRR or ISR. 0: none, for the first 16 are never set. */
static inline u32 apic_highest(const u32 *bank, u32 words)
{
    if (!words) {
        return 0;
    }
    u32 word = apic_bit(words);
    return 32 * word + apic_bit(bank[word * 4]);
}

/* --- by the thread that runs v, or before any does --- */

/* State after reset, on a zeroed page. v->vm and v->index are set. */
void apic_create(struct vcpu *v, u32 *page);
/* State after INIT: all but IA32_APIC_BASE and the ID. */
void apic_init(struct vcpu *v);

/* What came in goes to IRR and TMR. */
void apic_collect(struct vcpu *v);
/* The interrupt to be delivered next, 0: none has a priority above PPR; and its delivery. */
static inline u32 apic_next(const struct apic *a)
{
    u32 vector = apic_highest(&APIC_REG(a, APIC_IRR), a->irr_words);

    return vector >> 4 > APIC_REG(a, APIC_PPR) >> 4 ? vector : 0;
}
/* It is the highest of IRR, and above all of ISR. */
static inline void apic_take(struct apic *a, u32 vector)
{
    u32 word = vector / 32, bit = 1u << vector % 32;
    u32 *isr = &APIC_REG(a, APIC_ISR) + 4 * word, *irr = isr + (APIC_IRR - APIC_ISR) / 4;

    *irr ^= bit;
    if (LIKELY(!*irr)) {
        a->irr_words ^= 1u << word;
    }
    *isr |= bit;
    a->isr_words |= 1u << word;
    APIC_REG(a, APIC_PPR) = vector & 0xf0;
}
/* Of a virtualized one: irr_words and isr_words as the page has them. */
void apic_refresh(struct apic *a);
/* A level-triggered interrupt has ended: ring 3 will hear of it. */
void apic_end_level(struct vcpu *v, u32 vector);
/* Is there an interrupt of the PIC's? It is acknowledged by ring 3 (VX_INTA). */
bool apic_extint(const struct vcpu *v);
/* Is there something to collect, or perhaps an interrupt of the PIC's? */
static inline bool apic_has_news(const struct apic *a)
{
    return __atomic_load_n(&a->news[0], __ATOMIC_SEQ_CST) |
           __atomic_load_n(&a->news[1], __ATOMIC_SEQ_CST) |
           __atomic_load_n(&a->signals, __ATOMIC_SEQ_CST);
}

/* The event of a local vector table entry, by the entry's offset, unless it is masked. */
void apic_local(struct vcpu *v, u32 lvt);

/* Task priority as CR8 has it: 0..15. */
u32 apic_cr8(const struct vcpu *v);
void apic_set_cr8(struct vcpu *v, u32 value);

/* WRMSR of the two that matter most, and RDMSR and WRMSR of all, of a resident vCPU; index
 * (0x800..0x83f) and value are guest-controlled. False: #GP(0), and nothing has changed. */
bool apic_msr_eoi(struct vcpu *v, u64 value);
bool apic_msr_icr(struct vcpu *v, u64 value);
bool apic_msr_read(struct vcpu *v, u32 index, u64 *value);
bool apic_msr_write(struct vcpu *v, u32 index, u64 value);
bool apic_set_base(struct vcpu *v, u64 value);

/* 32-bit accesses to the page, offset below PAGE_SIZE; both are guest-controlled. */
u32 apic_page_read(struct vcpu *v, u32 offset);
void apic_page_write(struct vcpu *v, u32 offset, u32 value);
/* Is there a page? */
static inline bool apic_has_page(const struct apic *a)
{
    return (a->address & (APIC_AT_ENABLED | APIC_AT_X2APIC)) == APIC_AT_ENABLED;
}

/* --- timer (apic_timer.c); by the thread that runs v --- */

/* It is due: now >= timer_tsc. */
void apic_timer_expire(struct vcpu *v, u64 now);
/* The current count; a resident vCPU's or not. */
u32 apic_timer_count(struct vcpu *v);
/* Counts down from count, unless it is in TSC-deadline mode. 0: it stops. */
void apic_timer_start(struct vcpu *v, u32 count);
void apic_timer_stop(struct apic *a);
/* A new divide configuration; the count goes on. */
void apic_timer_divide(struct vcpu *v, u32 value);
/* IA32_TSC_DEADLINE of a resident vCPU; value is guest-controlled. True. */
bool apic_set_deadline(struct vcpu *v, u64 value);
/* The guest's TSC was set: its deadline comes at another time. */
void apic_tsc_changed(struct vcpu *v);

/* --- messages (apic_message.c); from any CPU --- */

struct apic_message {
    u32 destination; /* X2APIC_BROADCAST: all */
    u32 mode;        /* APIC_FIXED ... */
    u32 shorthand;   /* ICR_SELF, ICR_ALL, ICR_OTHERS, or 0: destination counts */
    u8 vector;
    bool logical, level;
};

/* Delivers it to the vCPUs of vm that it is for; from is the sender, for shorthands. Returns how
 * many took it. Locks vm->cpus_lock. */
u32 apic_send(struct vm *vm, const struct apic_message *m, struct vcpu *from);

/* The same for a message as a PCI device writes it; a guest controls both. E_INVAL: address is no
 * local APIC's, or data has more than 32 bits. */
s64 apic_send_msi(struct vm *vm, u64 address, u64 data);

/* The PIC's output. Locks vm->cpus_lock. */
void apic_set_line(struct vm *vm, bool level);

#endif
