/* SPDX-License-Identifier: MIT */
/* Machine code from data. */
#include "guests/lib/code.h"

#include "guests/lib/memory.h"
#include "guests/lib/test.h"
#include "lib/string.h"

#define RET  0xc3
#define RETF 0xcb

void regs_run(struct regs *r, const void *code); /* regs.asm */

u64 code_base(void)
{
    static u64 page;

    if (!page) {
        page = page_alloc(PAGE_SIZE, PAGE_SIZE);
    }
    return page;
}

static void place(const void *code, size_t bytes, u8 end)
{
    u8 *to = (u8 *)code_base();

    if (bytes > CODE_BYTES) {
        test_abort("code of %lu bytes", bytes);
    }
    memcpy(to, code, bytes);
    to[bytes] = end;
}

struct fault code_try(const void *code, size_t bytes, struct code_regs *regs)
{
    struct code_regs none = {0};

    place(code, bytes, RET);
    regs = regs ? regs : &none;
    return TRY("call *%[code]",
               : "+a"(regs->rax), "+b"(regs->rbx), "+c"(regs->rcx), "+d"(regs->rdx),
                 "+S"(regs->rsi), "+D"(regs->rdi)
               : [code] "m"((const u64){code_base()})
               : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

struct fault code_try32(const void *code, size_t bytes, struct code_regs *regs)
{
    struct code_regs none = {0};
    struct {
        u32 offset;
        u16 selector;
    } PACKED far = {(u32)code_base(), SEL_CODE32};

    place(code, bytes, RETF);
    regs = regs ? regs : &none;
    return TRY("lcall *%[far]",
               : "+a"(regs->rax), "+b"(regs->rbx), "+c"(regs->rcx), "+d"(regs->rdx),
                 "+S"(regs->rsi), "+D"(regs->rdi)
               : [far] "m"(far)
               : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

void code_run(const void *code, size_t bytes, struct regs *r)
{
    place(code, bytes, RET);
    regs_run(r, (const void *)code_base());
}
