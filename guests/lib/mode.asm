; SPDX-License-Identifier: MIT
; void mode_switch(struct mode *m): from 64-bit mode to the mode that *m asks for, runs the code at MODE_BLOB there,
; and back. *m lies at LOW_MODE. See mode.h.
global mode_switch
global mode_low
global mode_low_end
global mode_low_stubs
global mode_stubs32
global mode_idt32
extern idt_pointer

%define LOW_CODE        0x7000
%define LOW_MODE        0x7800
%define LOW_STACK       0x6ff0
%define BLOB            0x8000
%define LOW(label)      (LOW_CODE + (label - mode_low))

%define SEL_CODE64      0x08
%define SEL_DATA        0x10
%define SEL_CODE32      0x18
%define SEL_CODE16      0x30
%define SEL_DATA16      0x38

%define EFER            0xc0000080
%define EFER_LME        (1 << 8)

; struct mode
%define M_CR0           (LOW_MODE + 0)
%define M_CR3           (LOW_MODE + 4)
%define M_CR4           (LOW_MODE + 8)
%define M_KIND          (LOW_MODE + 12)
%define M_EAX           (LOW_MODE + 16)
%define M_EBX           (LOW_MODE + 20)
%define M_ECX           (LOW_MODE + 24)
%define M_EDX           (LOW_MODE + 28)
%define M_ESI           (LOW_MODE + 32)
%define M_EDI           (LOW_MODE + 36)
%define M_VECTOR        (LOW_MODE + 40)
%define M_ERROR         (LOW_MODE + 44)
%define M_CR2           (LOW_MODE + 48)
%define M_EIP           (LOW_MODE + 52)
%define M_EFER          (LOW_MODE + 56)
%define KIND_REAL       1
%define KIND_UNREAL     2

section .text
bits 64
mode_switch:
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
    pushfq
    cli
    mov     [saved_rsp], rsp
    mov     rax, cr0
    mov     [saved_cr0], rax
    mov     rax, cr3
    mov     [saved_cr3], rax
    mov     rax, cr4
    mov     [saved_cr4], rax
    mov     ecx, EFER
    rdmsr
    mov     [saved_efer], eax
    mov     [saved_efer + 4], edx
    lidt    [idt32_pointer]
    push    SEL_CODE32
    push    down
    o64 retf

bits 32
down:
    mov     eax, SEL_DATA
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     esp, stack32_top
    mov     eax, cr0
    and     eax, ~(1 << 31)
    mov     cr0, eax                    ; paging off: 64-bit mode ends
    mov     ecx, EFER
    xor     edx, edx
    mov     eax, [M_EFER]
    wrmsr
    mov     eax, [M_CR4]
    mov     cr4, eax
    mov     eax, [M_CR3]
    mov     cr3, eax
    cmp     dword [M_KIND], 0
    jne     to_real
    mov     eax, [M_CR0]
    mov     cr0, eax
    jmp     .flush
.flush:
    mov     eax, [M_EAX]
    mov     ebx, [M_EBX]
    mov     ecx, [M_ECX]
    mov     edx, [M_EDX]
    mov     esi, [M_ESI]
    mov     edi, [M_EDI]
    call    SEL_CODE32:.far             ; so that CS is reloaded after the code
    jmp     up
.far:
    mov     ebp, BLOB
    call    ebp
    push    ds
    push    SEL_DATA
    pop     ds
    mov     [M_EAX], eax
    mov     [M_EBX], ebx
    mov     [M_ECX], ecx
    mov     [M_EDX], edx
    mov     [M_ESI], esi
    mov     [M_EDI], edi
    pop     ds
    retf

; Back to 64-bit mode, from 32-bit code with whatever is in the other registers.
up:
    cli
    cld
    mov     eax, SEL_DATA
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    mov     esp, stack32_top
    mov     ecx, EFER
    rdmsr
    mov     [M_EFER], eax
    mov     eax, cr0
    and     eax, ~(1 << 31)
    mov     cr0, eax
    mov     eax, [saved_cr4]
    mov     cr4, eax
    mov     eax, [saved_cr3]
    mov     cr3, eax
    mov     eax, [saved_efer]
    mov     edx, [saved_efer + 4]
    and     eax, ~(1 << 10)             ; LMA is read-only
    wrmsr
    mov     eax, [saved_cr0]
    mov     cr0, eax
    jmp     SEL_CODE64:.long
bits 64
.long:
    mov     eax, SEL_DATA
    mov     ds, eax
    mov     es, eax
    mov     ss, eax
    xor     eax, eax
    mov     fs, eax
    mov     gs, eax
    mov     rsp, [saved_rsp]
    lidt    [idt_pointer]
    popfq
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    ret

; --- exceptions in 32-bit mode ---
bits 32
%macro STUB32 1
    align 16
%if %1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17
%else
    push    byte 0
%endif
    push    byte %1
    jmp     near fault32
%endmacro

align 16
mode_stubs32:
%assign vector 0
%rep 32
    STUB32 vector
%assign vector vector + 1
%endrep

fault32:                                ; vector, error, EIP
    push    eax
    mov     eax, SEL_DATA
    mov     ds, eax
    pop     dword [M_EAX]
    pop     dword [M_VECTOR]
    pop     dword [M_ERROR]
    pop     dword [M_EIP]
    mov     eax, cr2
    mov     [M_CR2], eax
    mov     [M_EBX], ebx
    mov     [M_ECX], ecx
    mov     [M_EDX], edx
    mov     [M_ESI], esi
    mov     [M_EDI], edi
    jmp     up

to_real:
    lidt    [idt16_pointer]
    jmp     SEL_CODE16:LOW(low_entry)

; --- copied to LOW_CODE ---
bits 16
align 16
mode_low:
low_entry:
    mov     ax, SEL_DATA16
    mov     fs, ax
    mov     gs, ax
    mov     ss, ax
    cmp     byte [M_KIND], KIND_UNREAL
    je      .limits
    mov     ds, ax
    mov     es, ax
.limits:
    mov     eax, [M_CR0]
    and     eax, ~((1 << 31) | 1)
    mov     cr0, eax
    jmp     0:LOW(.real)
.real:
    xor     ax, ax
    mov     ds, ax
    mov     es, ax
    mov     fs, ax
    mov     gs, ax
    mov     ss, ax
    mov     esp, LOW_STACK
    mov     eax, [M_EAX]
    mov     ebx, [M_EBX]
    mov     ecx, [M_ECX]
    mov     edx, [M_EDX]
    mov     esi, [M_ESI]
    mov     edi, [M_EDI]
    mov     ebp, BLOB
    call    bp
    cli
    push    ds
    push    word 0
    pop     ds
    mov     [M_EAX], eax
    pop     ax
low_store:
    mov     [M_EBX], ebx
    mov     [M_ECX], ecx
    mov     [M_EDX], edx
    mov     [M_ESI], esi
    mov     [M_EDI], edi
    mov     eax, cr0
    or      al, 1
    mov     cr0, eax
    jmp     dword SEL_CODE32:up

low_fault:                              ; vector, IP, CS, FLAGS
    push    word 0
    pop     ds
    mov     [M_EAX], eax
    pop     ax
    movzx   eax, ax
    mov     [M_VECTOR], eax
    pop     ax
    mov     [M_EIP], eax
    mov     dword [M_ERROR], 0
    jmp     low_store

%macro STUB16 1
    align 16
    push    word %1
    jmp     near low_fault
%endmacro

align 16
mode_low_stubs:
%assign vector 0
%rep 32
    STUB16 vector
%assign vector vector + 1
%endrep
mode_low_end:

section .data
align 8
idt32_pointer:
    dw 32 * 8 - 1
    dq mode_idt32
idt16_pointer:
    dw 0x3ff
    dd 0

section .bss
alignb 16
saved_rsp:  resq 1
saved_cr0:  resq 1
saved_cr3:  resq 1
saved_cr4:  resq 1
saved_efer: resq 1
mode_idt32: resq 32
stack32:    resb 4096
stack32_top:
