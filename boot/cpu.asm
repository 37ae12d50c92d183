; SPDX-License-Identifier: MIT
; Instructions that C cannot say. System V calling convention.
bits 64
default rel

section .text

global cpu_id:function hidden
cpu_id:                             ; (edi leaf, esi subleaf, rdx struct cpuid *)
    push rbx
    mov r8, rdx
    mov eax, edi
    mov ecx, esi
    cpuid
    mov [r8], eax
    mov [r8 + 4], ebx
    mov [r8 + 8], ecx
    mov [r8 + 12], edx
    pop rbx
    ret

global cpu_read_msr:function hidden
cpu_read_msr:                       ; (edi)
    mov ecx, edi
    rdmsr
    shl rdx, 32
    or rax, rdx
    ret

global cpu_write_msr:function hidden
cpu_write_msr:                      ; (edi, rsi value)
    mov ecx, edi
    mov eax, esi
    mov rdx, rsi
    shr rdx, 32
    wrmsr
    ret

global cpu_tsc:function hidden
cpu_tsc:
    rdtsc
    shl rdx, 32
    or rax, rdx
    ret

global cpu_cr4:function hidden
cpu_cr4:
    mov rax, cr4
    ret

global cpu_in8:function hidden
cpu_in8:                            ; (di port)
    mov edx, edi
    xor eax, eax
    in al, dx
    ret

global cpu_in32:function hidden
cpu_in32:                           ; (di port)
    mov edx, edi
    in eax, dx
    ret

global cpu_out8:function hidden
cpu_out8:                           ; (di port, sil value)
    mov edx, edi
    mov eax, esi
    out dx, al
    ret

global cpu_out16:function hidden
cpu_out16:                          ; (di port, si value)
    mov edx, edi
    mov eax, esi
    out dx, ax
    ret

global cpu_halt:function hidden
cpu_halt:
    cli
    hlt
    jmp cpu_halt
