/* SPDX-License-Identifier: MIT */
/* How the loader ends when it cannot start the kernel. */
#include "boot/loader.h"

#include "boot/cpu.h"

#define WAIT_100NS (60ull * 10000000)

/* Emulators: Bochs ends when "Shutdown" is written to port 0x8900; others by the firmware's
 * shutdown. */
static void power_off(struct loader *l)
{
    console_drain(&l->console);
    for (const char *s = "Shutdown"; *s; s++) {
        cpu_out8(0x8900, (u8)*s);
    }
    l->system->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
    cpu_out16(0x604, 0x2000); /* PM1a control of a QEMU q35: S5 */
    cpu_halt();
}

/* A key, or a minute. */
static void wait_for_reader(struct loader *l)
{
    EFI_EVENT events[2];
    UINTN count = 1, index;

    if (l->services->CreateEvent(EVT_TIMER, 0, NULL, NULL, &events[0]) != EFI_SUCCESS) {
        return;
    }
    l->services->SetTimer(events[0], TimerRelative, WAIT_100NS);
    if (l->system->ConIn) {
        l->system->ConIn->Reset(l->system->ConIn, FALSE);
        events[count++] = l->system->ConIn->WaitForKey;
    }
    l->services->WaitForEvent(count, events, &index);
    l->services->CloseEvent(events[0]);
}

EFI_STATUS loader_end(struct loader *l)
{
    console_style(&l->console, SCREEN_NORMAL);
    console_print(&l->console, "socle: end status=2\n");
    if (l->emulator) {
        power_off(l);
    }
    console_print(&l->console, "Press a key, or wait a minute, to go back to the firmware.\n");
    wait_for_reader(l);
    if (l->folder) {
        l->folder->Close(l->folder);
    }
    memory_free_all(l);
    return EFI_ABORTED;
}
