; SPDX-License-Identifier: MIT
; VMRUN: the only place that knows both the guest's registers and ours. Interrupts and NMIs are held off
; by GIF from before our last look at RFLAGS.IF, which must be set for them to end the guest's stay, until
; all is ours again.
%include "offsets.inc"

default rel
bits 64

global svm_enter:function

section .text

; all but RAX and RSP, which the VMCB has
%define REGISTERS rcx, RCX, rdx, RDX, rbx, RBX, rbp, RBP, rsi, RSI, r8, R8, r9, R9, r10, R10, \
    r11, R11, r12, R12, r13, R13, r14, R14, r15, R15, rdi, RDI

%macro load 2-*                         ; RDI = vCPU
%rep %0 / 2
    mov %1, [rdi + VCPU_ %+ %2]
%rotate 2
%endrep
%endmacro

%macro store 2-*                        ; RAX = vCPU
%rep %0 / 2
    mov [rax + VCPU_ %+ %2], %1
%rotate 2
%endrep
%endmacro

; void svm_enter(struct vcpu *v, u64 vmcb, u64 host)
align 16
svm_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdx
    push rdi
    mov rax, rsi
    clgi
    sti
    vmload                              ; FS, GS, TR, LDTR and the SYSCALL MSRs
    load REGISTERS
    vmrun                               ; RAX, RSP and RFLAGS are in the VMCB
    vmsave
    pop rax
    store REGISTERS
    pop rax
    vmload
    cli
    stgi                                ; NMIs and machine checks come in here
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret
