/* SPDX-License-Identifier: MIT */
/* From an exit to an executed instruction: fetch, operand, execution; and the short way for moves
 * that were met before. */
#include "vmm/machine/emulate.h"

#include "lib/hw/x86.h"
#include "lib/string.h"
#include "vmm/machine/emulate_exec.h"
#include "vmm/machine/emulate_memory.h"

#define SEG_AR_BIG BIT(14)

void emulate_walk_fault(const struct vcpu_state *s, gva_t va, struct fault *fault)
{
    gva_t rip = operand_linear(s, SEG_CS, s->rip);
    u64 error = PF_PRESENT | PF_RESERVED | (walk_cpl(s) == 3 ? PF_USER : 0);

    /* Deviation: whether the access was a write is not known here; a fetch shows by its address. */
    if (va.v - rip.v < DECODE_MAX_BYTES && (s->efer & EFER_NXE)) {
        error |= PF_FETCH;
    }
    *fault = emulate_page_fault(error, va);
}

static u8 code_bytes(const struct vcpu_state *s)
{
    if (walk_in_long_mode(s)) {
        return 8;
    }
    return (s->seg[SEG_CS].access & SEG_AR_BIG) ? 4 : 2;
}

typedef enum decode_status (*decode_fn)(const u8 *bytes, u32 count, u8 code_bytes,
                                        struct insn *out);

/* Bytes of code from RIP to the segment's limit, at most those of an instruction. */
static u32 code_room(const struct vcpu_state *s)
{
    u64 limit = s->seg[SEG_CS].limit;

    if (walk_in_long_mode(s)) {
        return DECODE_MAX_BYTES;
    }
    return s->rip > limit ? 0 : (u32)MIN(limit - s->rip + 1, DECODE_MAX_BYTES);
}

static enum emulate_result fetch(const struct board *b, const struct vcpu_state *s,
                                 struct fetched *f, struct fault *fault, decode_fn decoder)
{
    const struct fault gp = {VECTOR_GP, VCPU_INJECT_ERROR_CODE, 0, 0};
    u32 room = code_room(s);
    enum decode_status status;

    f->count = 0;
    do { /* page by page: the next one is touched only when the instruction reaches into it */
        gva_t va = operand_linear(s, SEG_CS, s->rip + f->count);
        u32 n = MIN(room - f->count, (u32)(PAGE_SIZE - (va.v & PAGE_MASK)));
        gpa_t at;
        u64 error;

        if (!n) {
            *fault = gp;
            return EMULATE_FAULT;
        }
        switch (
            walk(&b->ram, s, b->phys_bits, va, PF_FETCH, &at, &error, f->count ? NULL : &f->path)) {
        case WALK_OK:
            break;
        case WALK_FAULT:
            *fault = emulate_page_fault(error, va);
            return EMULATE_FAULT;
        case WALK_NON_CANONICAL:
            *fault = gp;
            return EMULATE_FAULT;
        }
        if (!ram_read(&b->ram, f->bytes + f->count, at, n)) {
            return EMULATE_UNKNOWN; /* code in device registers is not read: reading may act */
        }
        if (!f->count) {
            f->at = at;
            f->first = n;
        }
        f->count += n;
        status = decoder(f->bytes, f->count, code_bytes(s), &f->insn);
    } while (status == DECODE_SHORT);
    switch (status) {
    case DECODE_OK:
        return EMULATE_DONE;
    case DECODE_UNKNOWN:
        return EMULATE_UNKNOWN;
    default:
        *fault = status == DECODE_UNDEFINED ? (struct fault){VECTOR_UD, 0, 0, 0} : gp;
        return EMULATE_FAULT;
    }
}

enum emulate_result emulate_fetch(const struct board *b, const struct vcpu_state *s,
                                  struct fetched *f, struct fault *fault)
{
    return fetch(b, s, f, fault, decode);
}

enum emulate_result emulate_fetch_system(const struct board *b, const struct vcpu_state *s,
                                         struct fetched *f, struct fault *fault)
{
    return fetch(b, s, f, fault, decode_system);
}

/* --- the cache --- */

static struct emulate_line *line_of(const struct emulate_cache *cache, u64 rip)
{
    return (struct emulate_line *)&cache->line[rip % EMULATE_LINES];
}

/* What the translation and the decoding of code depend on, besides tables and bytes. */
static u64 mode_of(const struct vcpu_state *s)
{
    return (s->cr0 & CR0_PG) | (s->cr4 & (CR4_PAE | CR4_PSE | CR4_LA57)) |
           (s->efer & EFER_LMA) << 32 | (u64)(s->seg[SEG_CS].access & SEG_AR_BIG) << 32;
}

/* What sets all arithmetic flags, and what changes none. The others need those before. */
static const u32 sets_flags = BIT(INSN_ADD) | BIT(INSN_OR) | BIT(INSN_AND) | BIT(INSN_SUB) |
                              BIT(INSN_XOR) | BIT(INSN_CMP) | BIT(INSN_TEST) | BIT(INSN_NEG) |
                              BIT(INSN_XADD) | BIT(INSN_CMPXCHG);
static const u32 keeps_flags = BIT(INSN_MOV) | BIT(INSN_MOVBE) | BIT(INSN_NOT) | BIT(INSN_XCHG);

/* Can the short way do it: no flags that were there before, code within a page, an operand in one
 * device, whose address is told by registers of the exit (without RSP) and a segment base? */
static bool is_simple(const struct vcpu_state *s, const struct fetched *f)
{
    const struct insn *i = &f->insn;
    bool uses_reg = i->form == INSN_MEM_REG || i->form == INSN_REG_MEM;

    if (walk_in_long_mode(s) && (i->address_bytes != 8 || i->seg == SEG_FS || i->seg == SEG_GS)) {
        return false;
    }
    return BIT(i->op) & (sets_flags | keeps_flags) && i->length <= sizeof(u64) &&
           (f->at.v & PAGE_MASK) + sizeof(u64) <= PAGE_SIZE && i->base != GPR_RSP &&
           !(uses_reg && i->reg == GPR_RSP);
}

/* The answer for the instruction, but for values. */
static u64 answer_of(const struct insn *i)
{
    u64 reg = i->op == INSN_CMPXCHG ? GPR_RAX : i->reg;
    bool changes_reg = i->op == INSN_XCHG || i->op == INSN_XADD || i->op == INSN_CMPXCHG ||
                       (i->form == INSN_REG_MEM && i->op != INSN_CMP && i->op != INSN_TEST);

    return VCPU_RUN_ADVANCE | (u64)i->length << VCPU_RUN_LENGTH_SHIFT |
           (changes_reg ? VCPU_RUN_VALUE | reg << VCPU_RUN_GPR_SHIFT : 0) |
           (BIT(i->op) & sets_flags ? VCPU_RUN_FLAGS : 0);
}

static void keep(struct emulate_cache *cache, const struct board *b, const struct vcpu_state *s,
                 const struct fetched *f, gpa_t gpa)
{
    const struct insn *i = &f->insn;
    const struct host_registers *registers = bus_find_registers(&b->bus, gpa, i->memory_bytes);
    struct emulate_line *l = line_of(cache, s->rip);
    u64 mode = (walk_in_long_mode(s) ? VX_ACCESS_CODE64 : 0) |
               (walk_in_long_mode(s) && s->cr4 & CR4_LA57 ? VX_ACCESS_LA57 : 0);
    /* CPUs differ in how they call an access that reads and writes */
    u64 write = i->access == (INSN_READS | INSN_WRITES) ? 0 : VX_ACCESS_WRITE;

    if (!registers || !is_simple(s, f)) {
        return;
    }
    *l = (struct emulate_line){
        .rip = s->rip,
        .cr3 = s->cr3,
        .access = VX_ACCESS_LINEAR_VALID | mode | (i->access & INSN_WRITES ? write : 0),
        .access_mask = VX_ACCESS_WALK | VX_ACCESS_EVENT | VX_ACCESS_EXEC | VX_ACCESS_LINEAR_VALID |
                       VX_ACCESS_CODE64 | VX_ACCESS_LA57 | write,
        .mode = mode_of(s),
        .cs_base = s->seg[SEG_CS].base,
        .run = answer_of(i),
        .plain =
            i->op == INSN_MOV && i->form == INSN_REG_MEM && i->memory_bytes == 4 && i->bytes == 4,
        .registers = registers,
        .mask = low_bytes(~0ull, i->length),
        .at = f->at,
        .path = f->path,
        .insn = *i,
    };
    memcpy(&l->code, f->bytes, i->length);
}

/* Is the instruction that the CPU just ran the one of this line? The same linear address in the
 * same tables is the same memory, when the entries on the way are the same. */
static bool still_there(const struct board *b, const struct emulate_line *l)
{
    u64 code;

    __builtin_memcpy(&code, b->ram.base + l->at.v, sizeof(code));
    return !((code ^ l->code) & l->mask) && walk_unchanged(&b->ram, &l->path);
}

u64 emulate_cached(const struct board *b, const struct emulate_cache *cache,
                   const struct vcpu_state *s, struct vcpu_exit *x, u64 *value)
{
    const struct emulate_line *l = line_of(cache, x->e);
    const struct insn *i = &l->insn;
    const struct host_registers *r = l->registers;

    if (l->rip != x->e || l->cr3 != x->d || (x->b & l->access_mask) != l->access || !l->run ||
        !still_there(b, l)) {
        return 0;
    }
    /* The CPU translated the operand and found the access allowed; its address tells that it is
     * the operand's start, and not where a second page begins. */
    u64 start = insn_address(i, x->gpr, x->e), offset = x->a - r->base.v;
    if (UNLIKELY(!(x->b & VX_ACCESS_CODE64))) {
        if (l->mode != mode_of(s) || l->cs_base != s->seg[SEG_CS].base) {
            return 0;
        }
        start = operand_linear(s, i->seg, low_bytes(start, i->address_bytes)).v;
    }
    if (start != x->c || (x->c & (i->memory_bytes - 1u)) || offset >= r->bytes ||
        i->memory_bytes > r->bytes - offset) {
        return 0;
    }
    if (LIKELY(l->plain)) {
        *value = (u32)r->read(r->device, offset, 4);
        return l->run;
    }
    u64 memory = i->access & INSN_READS ? r->read(r->device, offset, i->memory_bytes) : 0;
    u64 rflags = 0;
    exec_insn(i, x->gpr, &rflags, &memory);
    if (i->access & INSN_WRITES) {
        r->write(r->device, offset, i->memory_bytes, low_bytes(memory, i->memory_bytes));
    }
    *value = x->gpr[(l->run & VCPU_RUN_GPR) >> VCPU_RUN_GPR_SHIFT];
    return l->run | rflags << VCPU_RUN_RFLAGS_SHIFT;
}

/* --- the long way --- */

enum emulate_result emulate_mmio(const struct board *b, struct emulate_cache *cache,
                                 struct vcpu_state *s, struct fetched *f, struct fault *fault)
{
    const struct insn *i = &f->insn;
    enum emulate_result r = emulate_fetch(b, s, f, fault);
    struct operand o;
    u64 memory = 0;

    if (r != EMULATE_DONE) {
        return r;
    }
    if (i->form == INSN_STRING) {
        return i->op == INSN_INS || i->op == INSN_OUTS
                   ? EMULATE_AGAIN /* the code changed; the CPU has to see whether it may */
                   : emulate_string(b, s, i, 0, fault);
    }
    if (!operand_find(b, s, i->seg, decode_offset(i, s->gpr, s->rip), i->memory_bytes,
                      i->access & INSN_WRITES ? PF_WRITE : 0, &o, fault)) {
        return EMULATE_FAULT;
    }
    keep(cache, b, s, f, o.gpa[0]);
    if (i->access & INSN_READS) {
        memory = operand_read(b, &o);
    }
    exec_insn(i, s->gpr, &s->rflags, &memory);
    if (i->access & INSN_WRITES) {
        operand_write(b, &o, memory);
    }
    return EMULATE_DONE;
}
