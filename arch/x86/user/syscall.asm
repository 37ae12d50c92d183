; SPDX-License-Identifier: MIT
; System calls as C functions. The convention is kernel/abi.h's: number in RAX, arguments in RDI, RSI,
; RDX, R10, R8, R9; RCX and R11 are lost. Prototypes are in vmm/sys.h.
%include "offsets.inc"

        bits    64

        global  sys_call
        global  sys_call_vcpu_run

        section .text

; s64 sys_call(u64 number, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
sys_call:
        mov     rax, rdi
        mov     rdi, rsi
        mov     rsi, rdx
        mov     rdx, rcx
        mov     r10, r8
        mov     r8, r9
        mov     r9, [rsp + 8]
        syscall
        ret

; s64 sys_call_vcpu_run(u64 vcpu, u64 flags, u64 value, struct vcpu_exit *exit)
; *exit gets RAX and the payload registers, whatever they say; its gpr[] is the kernel's to fill.
sys_call_vcpu_run:
        push    rbx
        mov     rbx, rcx
        lea     r10, [rcx + VCPU_EXIT_GPR]
        mov     eax, SYS_VCPU_RUN
        syscall
        mov     [rbx + VCPU_EXIT_KIND], rax
        mov     [rbx + VCPU_EXIT_A], rdi
        mov     [rbx + VCPU_EXIT_B], rsi
        mov     [rbx + VCPU_EXIT_C], rdx
        mov     [rbx + VCPU_EXIT_D], r8
        mov     [rbx + VCPU_EXIT_E], r9
        mov     [rbx + VCPU_EXIT_F], r10
        pop     rbx
        ret
