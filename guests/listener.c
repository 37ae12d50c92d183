/* SPDX-License-Identifier: MIT */
/* Hears what is typed at COM1 up to Control-D and says how much it was, with a checksum (FNV-1a),
 * so that a lost, doubled or changed byte shows. keys: each byte at once, in hexadecimal. */
#include "guests/lib/boot.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"

#define END_OF_TEXT 0x04
#define IDLE_PAUSES 2000
#define FNV_OFFSET  0xcbf29ce484222325ull
#define FNV_PRIME   0x100000001b3ull

static u8 hear(void)
{
    while (!(inb(COM1 + UART_LSR) & UART_LSR_DR)) {
        for (u32 i = 0; i < IDLE_PAUSES; i++) {
            cpu_pause();
        }
    }
    return inb(COM1 + UART_RBR);
}

void guest_main(void)
{
    bool keys = boot_option("keys");
    u64 bytes = 0, lines = 0, hash = FNV_OFFSET;

    print("listener: listening");
    print("\n> "); /* a prompt, whose line has no end */
    for (u8 c = hear(); c != END_OF_TEXT; c = hear()) {
        bytes++;
        lines += c == '\n';
        hash = (hash ^ c) * FNV_PRIME;
        if (keys) {
            print("key %02x\n", c);
        }
    }
    print("\nlistener: %lu bytes, %lu lines, hash %lx\n", bytes, lines, hash);
    guest_exit(0);
}
