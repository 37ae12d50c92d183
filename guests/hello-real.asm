; SPDX-License-Identifier: MIT
; A flat guest in 16-bit real mode: says hello on COM1 and ends well. Loaded at 0x7c00; with the boot
; signature at its end it also starts from a disk on any PC.
bits 16
org 0x7c00

%define COM1        0x3f8
%define LSR         (COM1 + 5)
%define LSR_THRE    0x20
%define DEBUG_EXIT  0xf4

start:
    jmp     0:.here                     ; CS = 0, whatever it was
.here:
    xor     ax, ax
    mov     ds, ax
    mov     ss, ax
    mov     sp, 0x7c00
    mov     si, text
    call    write

    smsw    ax                          ; protected mode off?
    test    al, 1
    mov     bl, 1
    jnz     .end
    mov     ax, 0xffff                  ; segment arithmetic: FFFF:0x7c10 is 0x107c00, not 0x7c00 (A20 is on)
    mov     es, ax
    mov     bl, 2
    mov     byte [es:start - 0x7c00 + 0x7c10], 0x5a
    cmp     byte [start], 0x5a
    je      .end
    cmp     byte [es:start - 0x7c00 + 0x7c10], 0x5a
    jne     .end
    push    0x1234                      ; INT through the table at 0
    mov     word [4 * 0x60], handler
    mov     word [4 * 0x60 + 2], 0
    xor     dx, dx
    int     0x60
    pop     ax
    mov     bl, 3
    cmp     ax, 0x1234
    jne     .end
    cmp     dx, 0x4321
    jne     .end
    mov     bl, 0
.end:
    mov     si, text_success
    test    bl, bl
    jz      .say
    add     bl, '0'
    mov     [text_failure_step], bl
    sub     bl, '0'
    mov     si, text_failure
.say:
    call    write
    movzx   eax, bl
    mov     dx, DEBUG_EXIT
    out     dx, eax
.stop:
    cli
    hlt
    jmp     .stop

handler:
    mov     dx, 0x4321
    iret

write:                                  ; SI: text, ended by a NUL
    lodsb
    test    al, al
    jz      .done
    mov     ah, al
    mov     dx, LSR
.wait:
    in      al, dx
    test    al, LSR_THRE
    jz      .wait
    mov     al, ah
    mov     dx, COM1
    out     dx, al
    jmp     write
.done:
    ret

text:
    db "hello from real mode", 10, 0
text_success:
    db "hello-real: SUCCESS", 10, 0
text_failure:
    db "hello-real: FAILURE at step "
text_failure_step:
    db "0", 10, 0

    times 510 - ($ - $$) db 0
    dw 0xaa55
