; SPDX-License-Identifier: MIT
; A Multiboot guest in 32-bit protected mode without paging, in a flat file whose header tells the
; addresses. Checks the state that Multiboot 1 promises, says hello and ends well.
bits 32
org 0x100000

%define MB_MAGIC    0x1badb002
%define MB_FLAGS    0x00010003
%define COM1        0x3f8
%define LSR         (COM1 + 5)
%define LSR_THRE    0x20
%define DEBUG_EXIT  0xf4

header:
    dd MB_MAGIC
    dd MB_FLAGS
    dd 0x100000000 - MB_MAGIC - MB_FLAGS
    dd header
    dd header
    dd data_end
    dd bss_end
    dd start

start:
    mov     ecx, eax                    ; no memory is used before it was checked
    mov     esp, stack_top
    mov     esi, text
    call    write
    mov     edi, 1
    cmp     ecx, 0x2badb002
    jne     end
    inc     edi                         ; 2: protected mode, no paging
    mov     eax, cr0
    and     eax, 0x80000001
    cmp     eax, 1
    jne     end
    inc     edi                         ; 3: interrupts off, no virtual 8086 mode
    pushfd
    pop     eax
    test    eax, (1 << 9) | (1 << 17)
    jnz     end
    inc     edi                         ; 4: segments reach to 4 GiB (a #GP else, and no IDT)
    mov     eax, [0xfffffffc]
    mov     eax, [ss:0xfffffffc]
    mov     eax, [es:0xfffffffc]
    inc     edi                         ; 5: memory is zero behind the file's end
    mov     ecx, (bss_end - data_end) / 4 - 64
    mov     edx, data_end
.zero:
    cmp     dword [edx], 0
    jne     end
    add     edx, 4
    loop    .zero
    inc     edi                         ; 6: memory information, with a memory map
    mov     eax, [ebx]
    and     eax, 0x41
    cmp     eax, 0x41
    jne     end
    cmp     dword [ebx + 8], 0          ; KiB above 1 MiB
    je      end
    xor     edi, edi
end:
    mov     esi, text_success
    test    edi, edi
    jz      .say
    mov     eax, edi
    add     al, '0'
    mov     [text_failure_step], al
    mov     esi, text_failure
.say:
    call    write
    mov     eax, edi
    mov     dx, DEBUG_EXIT
    out     dx, eax
.stop:
    cli
    hlt
    jmp     .stop

write:                                  ; ESI: text, ended by a NUL; changes EAX, EDX
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
    db "hello from protected mode", 10, 0
text_success:
    db "hello-protected: SUCCESS", 10, 0
text_failure:
    db "hello-protected: FAILURE at step "
text_failure_step:
    db "0", 10, 0
align 4
data_end:
stack_top   equ data_end + 8192
bss_end     equ data_end + 8192
