; SPDX-License-Identifier: MIT
; The first program of Linux in `make bench`: tells the TSC, and ends the machine. Static, no library.
bits 64

SYS_WRITE equ 1
SYS_PAUSE equ 34
SYS_IOPL  equ 172
PORT_END  equ 0xf4                      ; of a guest under Socle; nothing is there on the bare machine

section .text
global _start
_start:
    rdtsc
    shl rdx, 32
    or rax, rdx
    mov rdi, digits.end                 ; decimal, from the last digit
    mov ecx, 10
.digit:
    xor edx, edx
    div rcx
    add dl, '0'
    dec rdi
    mov [rdi], dl
    test rax, rax
    jnz .digit
    mov rsi, prefix                     ; in front of them
    mov ecx, prefix.end - prefix
    sub rdi, rcx
    mov rbx, rdi
    rep movsb
    mov rsi, rbx
    mov edx, digits.all
    sub rdx, rbx
    mov edi, 1
    mov eax, SYS_WRITE
    syscall
    mov edi, 3
    mov eax, SYS_IOPL
    syscall
    mov dx, PORT_END
    xor eax, eax
    out dx, eax
    mov edi, 1
    mov rsi, verdict
    mov edx, verdict.end - verdict
    mov eax, SYS_WRITE
    syscall
.sleep:
    mov eax, SYS_PAUSE
    syscall
    jmp .sleep

section .data
prefix: db "bench: linux-init tsc="
.end:
verdict: db "socle: end status=0 (the bare machine)", 10
.end:
room: times 32 db 0                     ; for the prefix
digits: times 20 db 0
.end: db 10
.all:
