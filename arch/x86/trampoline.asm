; SPDX-License-Identifier: MIT
; The start of the other CPUs: copied to a page below 1 MiB, where a SIPI lets them begin in real mode.
; smp.c fills in what follows trampoline_data before it sends one.
%include "offsets.inc"

        global  trampoline_start
        global  trampoline_data
        global  trampoline_end
        global  smp_mailbox

        extern  smp_cpu_main

%define CR0_START   0x80010033                  ; PG WP NE ET MP PE; caches on
%define CR4_START   0x20                        ; PAE
%define EFER_START  0x900                       ; LME NXE
%define MSR_EFER    0xc0000080
%define MSR_MISC_ENABLE 0x1a0
%define AT(label)   (label - trampoline_start)

        section .rodata
        align   16

        bits    16
trampoline_start:
        cli
        cld
        mov     ax, cs
        mov     ds, ax
        mov     ebx, [AT(data.base)]            ; linear address of this page
        o32 lgdt [AT(data.gdtr)]
        mov     eax, cr0
        or      al, 1
        and     eax, 0x9fffffff                 ; INIT leaves CD and NW set
        mov     cr0, eax
        jmp     dword far [AT(data.jump32)]

        bits    32
.protected:
        mov     ax, 0x18
        mov     ds, ax
        mov     ss, ax
        ; firmware has switched NX off: on again, or EFER.NXE would fault
        cmp     dword [ebx + AT(data.xd_fix)], 0
        je      .long_mode
        mov     ecx, MSR_MISC_ENABLE
        rdmsr
        and     edx, ~4
        wrmsr
.long_mode:
        mov     eax, CR4_START
        mov     cr4, eax
        mov     eax, [ebx + AT(data.root)]
        mov     cr3, eax
        mov     ecx, MSR_EFER
        rdmsr
        or      eax, EFER_START
        wrmsr
        mov     eax, CR0_START
        mov     cr0, eax
        jmp     far [ebx + AT(data.jump64)]

        bits    64
.long:
        mov     rax, cpu_start                  ; the kernel's own address of what follows
        jmp     rax

        align   8
trampoline_data:
data:
.base:          dd 0                            ; struct trampoline_data in smp.c, from here
.root:          dd 0
.xd_fix:        dd 0
.jump32:        dd AT(trampoline_start.protected)
                dd 8
.jump64:        dd AT(trampoline_start.long)
                dd 0x10
.gdtr:          dw 4 * 8 - 1
.gdt_base:      dd AT(.gdt)
                dw 0
        align   8
.gdt:           dq 0
                dq 0x00cf9b000000ffff           ; 32-bit code
                dq 0x00209b0000000000           ; 64-bit code
                dq 0x00cf93000000ffff           ; data
trampoline_end:

        section .text

; A CPU takes the mailbox once. When it is empty, this CPU came too late: the first CPU has given it up.
cpu_start:
        xor     eax, eax
        xchg    rax, [smp_mailbox]
        test    rax, rax
        jz      .late
        mov     rdi, rax
        mov     rsp, [rax + CPU_KERNEL_RSP]
        xor     ebp, ebp
        call    smp_cpu_main
.late:
        cli
        hlt
        jmp     .late

        section .data
        align   8
; struct cpu *: of the CPU that is being started
smp_mailbox:    dq 0
