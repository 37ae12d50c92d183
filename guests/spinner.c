/* SPDX-License-Identifier: MIT */
/* Switches interrupts off and spins for ever: only its time limit can end it. */
#include "guests/lib/boot.h"
#include "guests/lib/console.h"

void guest_main(void)
{
    print("spinning with interrupts off\n");
    __asm__ volatile("cli; 1: jmp 1b");
}
