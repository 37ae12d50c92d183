; SPDX-License-Identifier: MIT
; VM entry and VM exit: the only place that knows both the guest's registers and ours. HOST_RSP of
; every VMCS points at the end of vcpu.gpr[], so an exit needs no other register to find its vCPU.
;
; An exit saves in two steps. First what C may clobber (and RBX, which then holds the vCPU): enough for
; vmx_exit_fast(), which settles the exits that happen all the time. Only when that is not enough are
; the registers saved that C preserves anyway. Until then they hold the guest's values.
%include "offsets.inc"

default rel
bits 64

extern vmx_exit_fast
extern vmx_exit_slow
extern vmx_entry_failed

global vmx_enter:function
global vmx_exit_stub:function

; where RSP is at an exit, relative to the vCPU
%define EXIT_RSP (VCPU_R15 + 8)

section .text

%macro save_clobbered 0                 ; RSP = vCPU + EXIT_RSP
    mov [rsp + VCPU_RAX - EXIT_RSP], rax
    mov [rsp + VCPU_RCX - EXIT_RSP], rcx
    mov [rsp + VCPU_RDX - EXIT_RSP], rdx
    mov [rsp + VCPU_RBX - EXIT_RSP], rbx
    mov [rsp + VCPU_RSI - EXIT_RSP], rsi
    mov [rsp + VCPU_RDI - EXIT_RSP], rdi
    mov [rsp + VCPU_R8 - EXIT_RSP], r8
    mov [rsp + VCPU_R9 - EXIT_RSP], r9
    mov [rsp + VCPU_R10 - EXIT_RSP], r10
    mov [rsp + VCPU_R11 - EXIT_RSP], r11
%endmacro

%macro load_clobbered 0                 ; RBX = vCPU, and then the guest's
    mov rax, [rbx + VCPU_RAX]
    mov rcx, [rbx + VCPU_RCX]
    mov rdx, [rbx + VCPU_RDX]
    mov rsi, [rbx + VCPU_RSI]
    mov rdi, [rbx + VCPU_RDI]
    mov r8, [rbx + VCPU_R8]
    mov r9, [rbx + VCPU_R9]
    mov r10, [rbx + VCPU_R10]
    mov r11, [rbx + VCPU_R11]
    mov rbx, [rbx + VCPU_RBX]
%endmacro

%macro save_preserved 1                 ; %1 = vCPU
    mov [%1 + VCPU_RBP], rbp
    mov [%1 + VCPU_R12], r12
    mov [%1 + VCPU_R13], r13
    mov [%1 + VCPU_R14], r14
    mov [%1 + VCPU_R15], r15
%endmacro

%macro load_preserved 0                 ; RBX = vCPU
    mov rbp, [rbx + VCPU_RBP]
    mov r12, [rbx + VCPU_R12]
    mov r13, [rbx + VCPU_R13]
    mov r14, [rbx + VCPU_R14]
    mov r15, [rbx + VCPU_R15]
%endmacro

; void vmx_enter(struct vcpu *v). RSP stays where it is from here to the end of the run; the stub takes
; it from the vCPU.
align 16
vmx_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    sub rsp, 8                          ; calls below are made with an aligned stack
    mov rbx, rdi
    mov [rbx + VCPU_HOST_RSP], rsp
    cmp dword [rbx + VCPU_LAUNCHED], 0
    load_preserved
    je launch
resume:
    load_clobbered
    vmresume
    jmp failed
launch:
    load_clobbered
    vmlaunch

; VMfail: nothing was loaded, all registers but RSP are still the guest's.
failed:
    push rdi
    mov rdi, [gs:CPU_RESIDENT]
    save_preserved rdi
    mov rbx, rdi
    pop rdi
    mov rdi, rbx
    call vmx_entry_failed
leave:
    add rsp, 8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

align 16
vmx_exit_stub:
    save_clobbered
    lea rbx, [rsp - EXIT_RSP]
    mov rsp, [rbx + VCPU_HOST_RSP]
    mov rdi, rbx
    call vmx_exit_fast
    dec eax                             ; VMX_RESUME?
    jnz slow
    load_clobbered
    vmresume
    jmp failed
slow:
    save_preserved rbx
    inc eax
    mov rdi, rbx
    mov esi, eax
    xor ebp, ebp                        ; backtraces end here
    call vmx_exit_slow
    test eax, eax                       ; VMX_LEAVE
    jz leave
    cmp eax, 2                          ; VMX_LAUNCH
    load_preserved
    je launch
    jmp resume
