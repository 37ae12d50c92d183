/* SPDX-License-Identifier: MIT */
/* The keyboard controller. Every wait is bounded: firmware that imitates one for USB keyboards may
 * answer late, or not at all. */
#include "drivers/i8042.h"

#include "vmm/sys.h"

#define DATA                0x60
#define STATUS              0x64 /* read */
#define COMMAND             0x64 /* write */

#define STATUS_OUTPUT       BIT(0) /* a byte for us is in DATA */
#define STATUS_INPUT        BIT(1) /* the controller has not taken our last byte yet */
#define STATUS_MOUSE        BIT(5) /* the byte is the second port's */
#define STATUS_NONE         0xff

#define READ_CONFIG         0x20
#define WRITE_CONFIG        0x60
#define DISABLE_MOUSE       0xa7
#define DISABLE_KEYBOARD    0xad
#define ENABLE_KEYBOARD     0xae
#define KEYBOARD_SCAN       0xf4 /* to the keyboard itself */

#define CONFIG_KEYBOARD_IRQ BIT(0)
#define CONFIG_MOUSE_IRQ    BIT(1)
#define CONFIG_NO_KEYBOARD  BIT(4)
#define CONFIG_TRANSLATE    BIT(6)

#define WAIT_MS             50
#define FLUSH_BYTES         64

static u64 status(handle_t system)
{
    return (u64)sys_port(system, STATUS, 0);
}

static bool wait_status(handle_t system, u64 mask, u64 value, u64 tsc_hz)
{
    u64 end = sys_tsc() + tsc_hz / 1000 * WAIT_MS;

    while ((status(system) & mask) != value) {
        if (sys_tsc() > end) {
            return false;
        }
    }
    return true;
}

static bool send(handle_t system, u64 port, u64 byte, u64 tsc_hz)
{
    return wait_status(system, STATUS_INPUT, 0, tsc_hz) &&
           sys_port(system, PORT_WRITE | port, byte) == 0;
}

static void flush(handle_t system)
{
    for (u32 i = 0; i < FLUSH_BYTES && (status(system) & STATUS_OUTPUT); i++) {
        sys_port(system, DATA, 0);
    }
}

bool i8042_init(handle_t system, u64 tsc_hz)
{
    if (status(system) == STATUS_NONE || !send(system, COMMAND, DISABLE_KEYBOARD, tsc_hz) ||
        !send(system, COMMAND, DISABLE_MOUSE, tsc_hz)) {
        return false;
    }
    flush(system); /* what was typed at the firmware */
    if (!send(system, COMMAND, READ_CONFIG, tsc_hz) ||
        !wait_status(system, STATUS_OUTPUT, STATUS_OUTPUT, tsc_hz)) {
        return false;
    }
    u64 config = (u64)sys_port(system, DATA, 0);
    config |= CONFIG_KEYBOARD_IRQ | CONFIG_TRANSLATE;
    config &= ~(CONFIG_MOUSE_IRQ | CONFIG_NO_KEYBOARD);
    if (!send(system, COMMAND, WRITE_CONFIG, tsc_hz) || !send(system, DATA, config, tsc_hz) ||
        !send(system, COMMAND, ENABLE_KEYBOARD, tsc_hz) ||
        !send(system, DATA, KEYBOARD_SCAN, tsc_hz)) {
        return false;
    }
    /* its acknowledgement, if a keyboard is there */
    if (wait_status(system, STATUS_OUTPUT, STATUS_OUTPUT, tsc_hz)) {
        flush(system);
    }
    return true;
}

int i8042_read(handle_t system)
{
    for (u32 i = 0; i < FLUSH_BYTES; i++) {
        u64 s = status(system);
        if (s == STATUS_NONE || !(s & STATUS_OUTPUT)) {
            break;
        }
        s64 byte = sys_port(system, DATA, 0);
        if (!(s & STATUS_MOUSE)) {
            return (int)byte;
        }
    }
    return -1;
}
