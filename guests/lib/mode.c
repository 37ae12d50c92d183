/* SPDX-License-Identifier: MIT */
/* Prepares low memory and the 32-bit IDT for mode.asm. */
#include "guests/lib/mode.h"

#include "guests/lib/cpu.h"
#include "guests/lib/test.h"
#include "guests/lib/trap.h"
#include "lib/string.h"

#define LOW_CODE   0x7000
#define LOW_MODE   0x7800
#define STUB_BYTES 16
#define RET        0xc3

/* mode.asm */
extern u8 mode_low[], mode_low_end[], mode_stubs32[], mode_low_stubs[];
extern u64 mode_idt32[32];
void mode_switch(struct mode *m);

static void prepare(void)
{
    volatile u32 *ivt = NULL;

    __asm__("" : "+r"(ivt)); /* the table really is at address 0 */
    memcpy((void *)LOW_CODE, mode_low, (size_t)(mode_low_end - mode_low));
    for (u32 v = 0; v < 32; v++) {
        u64 stub = (u64)mode_stubs32 + v * STUB_BYTES;

        mode_idt32[v] =
            (stub & 0xffff) | (u64)SEL_CODE32 << 16 | 0x8e0000000000ull | (stub >> 16) << 48;
        ivt[v] = (u32)(LOW_CODE + (u64)(mode_low_stubs - mode_low) + v * STUB_BYTES);
    }
}

void mode_run(struct mode *m, const void *code, size_t bytes)
{
    struct mode *low = (struct mode *)LOW_MODE;

    if (bytes > 1024) {
        test_abort("mode_run: code of %lu bytes", bytes);
    }
    prepare();
    memcpy((void *)(u64)MODE_BLOB, code, bytes);
    *((u8 *)(u64)MODE_BLOB + bytes) = RET;
    m->vector = -1;
    memcpy(low, m, sizeof(*m));
    mode_switch(low);
    memcpy(m, low, sizeof(*m));
}
