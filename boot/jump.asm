; SPDX-License-Identifier: MIT
; The way out of the firmware's environment: own segments, no IDT, known control
; registers, own page tables. Firmware that left the CPU in five-level paging is brought back to four
; levels, which takes a detour through protected mode in a page below 1 MiB.
bits 64
default rel

%define CR0_WANTED 0x80010033       ; PG, WP, NE, ET, MP, PE
%define CR4_WANTED 0x00000020       ; PAE
%define CR4_LA57   (1 << 12)
%define CODE64 0x08
%define DATA   0x10
%define CODE32 0x18

section .text

; (rdi root, rsi entry, rdx stack top, rcx its argument, r8 gdt, r9 low page)
global cpu_jump:function hidden
cpu_jump:
    cli
    cld
    mov rsp, rdx
    mov rbx, rcx                    ; argument
    mov r12, rsi                    ; entry
    mov r13, rdi                    ; root

    lea rsi, [gdt]                  ; the descriptors go where the kernel will not overwrite them
    mov rdi, r8
    mov ecx, gdt_end - gdt
    rep movsb
    push r8
    sub rsp, 8
    mov word [rsp + 6], gdt_end - gdt - 1
    lgdt [rsp + 6]
    mov qword [rsp], 0
    mov word [rsp + 6], 0           ; limit 0: an exception from here on shuts the CPU down at once
    mov qword [rsp + 8], 0
    lidt [rsp + 6]
    add rsp, 16

    mov eax, DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    lldt ax
    lea rax, [.segments]
    push CODE64
    push rax
    o64 retf
.segments:
    mov rax, cr4
    test eax, CR4_LA57
    jnz five_levels
    mov eax, CR4_WANTED             ; PGE changes or PCIDE goes: nothing global stays in the TLB
    mov cr4, rax
    mov cr3, r13
enter:
    mov eax, CR0_WANTED
    mov cr0, rax
    mov rdi, rbx
    mov rax, r12
    xor ebx, ebx
    xor ecx, ecx
    xor edx, edx
    xor esi, esi
    xor ebp, ebp
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    jmp rax

; Paging must be off to change CR4.LA57, and only 32-bit code runs without it. Registers keep no more
; than their low halves on the way, so the rest waits in the low page.
five_levels:
    lea rsi, [detour]
    mov rdi, r9
    mov ecx, detour_end - detour
    rep movsb
    lea eax, [r9 + detour.long - detour]
    mov [r9 + detour.far - detour], eax
    mov [r9 + detour.entry - detour], r12
    mov [r9 + detour.argument - detour], rbx
    mov [r9 + detour.stack - detour], rsp
    lea rax, [enter]
    mov [r9 + detour.back - detour], rax
    mov edi, r13d                   ; root
    push CODE32
    push r9
    o64 retf

detour:
bits 32
    mov eax, CR0_WANTED & 0x7fffffff
    mov cr0, eax
    mov eax, CR4_WANTED
    mov cr4, eax
    mov cr3, edi
    mov eax, CR0_WANTED
    mov cr0, eax
    db 0xea                         ; far jump to .long
.far:
    dd 0
    dw CODE64
bits 64
.long:
    mov r12, [.entry]
    mov rbx, [.argument]
    mov rsp, [.stack]
    jmp [.back]
align 8
.entry:
    dq 0
.argument:
    dq 0
.stack:
    dq 0
.back:
    dq 0
detour_end:

align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff           ; 64-bit code
    dq 0x00cf93000000ffff           ; data
    dq 0x00cf9b000000ffff           ; 32-bit code
gdt_end:
