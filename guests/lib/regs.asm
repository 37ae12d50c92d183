; SPDX-License-Identifier: MIT
; void regs_run(struct regs *r, const void *code): calls code with all general registers but RSP, and the
; arithmetic flags and DF, as *r says, and stores what they are afterwards.
global regs_run

%define FLAGS_MASK 0xcd5                ; CF PF AF ZF SF DF OF

section .text
bits 64
regs_run:
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
    mov     [pointer], rdi
    mov     [code], rsi
    pushfq
    pop     rax
    and     rax, ~FLAGS_MASK
    mov     rcx, [rdi + 120]
    and     rcx, FLAGS_MASK
    or      rax, rcx
    push    rax
    mov     rax, [rdi + 0]
    mov     rcx, [rdi + 8]
    mov     rdx, [rdi + 16]
    mov     rbx, [rdi + 24]
    mov     rbp, [rdi + 32]
    mov     rsi, [rdi + 40]
    mov     r8, [rdi + 56]
    mov     r9, [rdi + 64]
    mov     r10, [rdi + 72]
    mov     r11, [rdi + 80]
    mov     r12, [rdi + 88]
    mov     r13, [rdi + 96]
    mov     r14, [rdi + 104]
    mov     r15, [rdi + 112]
    mov     rdi, [rdi + 48]
    popfq
    call    [code]
    mov     [saved_rdi], rdi
    mov     rdi, [pointer]
    pushfq
    pop     qword [rdi + 120]
    and     qword [rdi + 120], FLAGS_MASK
    cld
    mov     [rdi + 0], rax
    mov     [rdi + 8], rcx
    mov     [rdi + 16], rdx
    mov     [rdi + 24], rbx
    mov     [rdi + 32], rbp
    mov     [rdi + 40], rsi
    mov     [rdi + 56], r8
    mov     [rdi + 64], r9
    mov     [rdi + 72], r10
    mov     [rdi + 80], r11
    mov     [rdi + 88], r12
    mov     [rdi + 96], r13
    mov     [rdi + 104], r14
    mov     [rdi + 112], r15
    mov     rax, [saved_rdi]
    mov     [rdi + 48], rax
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    ret

section .bss
alignb 8
pointer:    resq 1
code:       resq 1
saved_rdi:  resq 1
