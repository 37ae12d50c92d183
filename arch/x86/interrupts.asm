; SPDX-License-Identifier: MIT
; Entry and exit of exceptions and interrupts. Interrupt gates: interrupts are off throughout.
%include "offsets.inc"
%include "arch/x86/smap.inc"

        bits    64

        extern  trap_handle
        extern  trap_handle_ist
        extern  trap_user_hazards

        global  trap_stubs

%define MSR_IA32_GS_BASE 0xc0000101

%macro PUSH_REGISTERS 0
        push    rax
        push    rbx
        push    rcx
        push    rdx
        push    rsi
        push    rdi
        push    rbp
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
%endmacro

%macro POP_REGISTERS 0
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rbp
        pop     rdi
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rbx
        pop     rax
        add     rsp, 16                         ; vector, error code
%endmacro

; Where CS is, with only vector and error code pushed.
%define ENTRY_CS 24

        section .text

; From ring 3, from idle and from the kernel's own faults: GS is ring 3's exactly when CS is.
trap_entry:
        cld
        CLAC_HERE
        test    byte [rsp + ENTRY_CS], 3
        jz      .kernel
        swapgs
.kernel:
        lfence                                  ; no use of GS while the branch is a guess
        PUSH_REGISTERS
        mov     rdi, rsp
        call    trap_handle
.return:
        test    byte [rsp + TRAP_CS], 3
        jz      .to_kernel
        cmp     dword [gs:CPU_HAZARDS], 0
        jne     .hazards
        POP_REGISTERS
        swapgs
        iretq
.to_kernel:
        POP_REGISTERS
        iretq
.hazards:
        call    trap_user_hazards
        jmp     .return

; NMI, double fault, machine check: they may hit the few instructions of entry and exit where CS is the
; kernel's and GS still, or again, ring 3's. The kernel's GS base is in the upper half, ring 3's is 0.
trap_entry_ist:
        cld
        CLAC_HERE
        PUSH_REGISTERS
        mov     ecx, MSR_IA32_GS_BASE
        rdmsr
        xor     ebx, ebx
        test    edx, edx
        js      .kernel_gs
        swapgs
        mov     ebx, 1
.kernel_gs:
        lfence
        mov     rdi, rsp
        call    trap_handle_ist
        test    ebx, ebx
        jz      .return
        swapgs
.return:
        POP_REGISTERS
        iretq

; One stub per vector: an error code, real or 0, then the vector.
%assign vector 0
%rep 256
        align   16
trap_stub_ %+ vector:
%if vector = 8 || (vector >= 10 && vector <= 14) || vector = 17 || vector = 21 || vector = 29 || vector = 30
%else
        push    qword 0
%endif
        push    qword vector
%if vector = 2 || vector = 8 || vector = 18
        jmp     trap_entry_ist
%else
        jmp     trap_entry
%endif
%assign vector vector + 1
%endrep

        section .rodata

; const u64 trap_stubs[256]
        align   8
trap_stubs:
%assign vector 0
%rep 256
        dq      trap_stub_ %+ vector
%assign vector vector + 1
%endrep
