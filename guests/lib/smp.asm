; SPDX-License-Identifier: MIT
; What another CPU runs after its start-up IPI: from real mode, at the copy of smp_trampoline at SMP_PAGE, to
; 64-bit mode with the boot CPU's control registers, and to smp_entry() in C. The CPU's stack comes
; from a table by its APIC ID, so any number of them can be under way at once.
global smp_trampoline
global smp_trampoline_end
global smp_trampoline_gdt
global smp_cr0
global smp_cr3
global smp_cr4
global smp_efer
global smp_stacks
extern smp_entry

%define SEL_CODE64      0x08
%define SEL_DATA        0x10
%define SEL_CODE32      0x18
%define EFER            0xc0000080

section .text
bits 16
smp_trampoline:
    cli
    cld
    mov     ax, cs
    mov     ds, ax
    o32 lgdt [smp_trampoline_gdt - smp_trampoline]
    mov     eax, cr0
    or      al, 1
    mov     cr0, eax
    jmp     dword SEL_CODE32:protected
align 4
smp_trampoline_gdt:
    dw 0                                ; limit and address: filled by smp.c
    dd 0
smp_trampoline_end:

bits 32
protected:
    mov     eax, SEL_DATA
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     eax, [smp_cr4]
    mov     cr4, eax
    mov     eax, [smp_cr3]
    mov     cr3, eax
    mov     ecx, EFER
    mov     eax, [smp_efer]
    xor     edx, edx
    wrmsr
    mov     eax, [smp_cr0]
    mov     cr0, eax
    jmp     SEL_CODE64:long_mode

bits 64
long_mode:
    xor     eax, eax
    mov     fs, eax
    mov     gs, eax
    mov     eax, 1
    cpuid
    shr     ebx, 24                     ; the APIC ID that it began with
    mov     edi, ebx
    mov     rsp, [smp_stacks + rbx * 8]
    xor     ebp, ebp
    call    smp_entry
.ended:
    cli
    hlt
    jmp     .ended

section .bss
alignb 8
smp_stacks: resq 256
smp_cr0:    resd 1
smp_cr3:    resd 1
smp_cr4:    resd 1
smp_efer:   resd 1
