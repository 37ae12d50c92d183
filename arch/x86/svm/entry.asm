; SPDX-License-Identifier: MIT
; VMRUN: the only place that knows both the guest's registers and ours. Interrupts and NMIs are held off
; by GIF from before our last look at RFLAGS.IF, which must be set for them to end the guest's stay, until
; all is ours again.
%include "offsets.inc"

default rel
bits 64

global svm_enter:function

section .text

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
    mov rcx, [rdi + VCPU_RCX]
    mov rdx, [rdi + VCPU_RDX]
    mov rbx, [rdi + VCPU_RBX]
    mov rbp, [rdi + VCPU_RBP]
    mov rsi, [rdi + VCPU_RSI]
    mov r8, [rdi + VCPU_R8]
    mov r9, [rdi + VCPU_R9]
    mov r10, [rdi + VCPU_R10]
    mov r11, [rdi + VCPU_R11]
    mov r12, [rdi + VCPU_R12]
    mov r13, [rdi + VCPU_R13]
    mov r14, [rdi + VCPU_R14]
    mov r15, [rdi + VCPU_R15]
    mov rdi, [rdi + VCPU_RDI]
    vmrun                               ; RAX, RSP and RFLAGS are in the VMCB
    vmsave
    pop rax
    mov [rax + VCPU_RCX], rcx
    mov [rax + VCPU_RDX], rdx
    mov [rax + VCPU_RBX], rbx
    mov [rax + VCPU_RBP], rbp
    mov [rax + VCPU_RSI], rsi
    mov [rax + VCPU_RDI], rdi
    mov [rax + VCPU_R8], r8
    mov [rax + VCPU_R9], r9
    mov [rax + VCPU_R10], r10
    mov [rax + VCPU_R11], r11
    mov [rax + VCPU_R12], r12
    mov [rax + VCPU_R13], r13
    mov [rax + VCPU_R14], r14
    mov [rax + VCPU_R15], r15
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
