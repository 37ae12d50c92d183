/* SPDX-License-Identifier: MIT */
/*
 * What the backends share: registers of the CPU that no control structure of theirs covers, checks
 * of a vCPU's whole state, and its report. A guest's FPU state and debug registers stay in the CPU
 * as long as the vCPU is resident: the kernel and ring 3 use neither (CR0.TS is set outside
 * guests).
 */
#ifndef ARCH_X86_GUEST_H
#define ARCH_X86_GUEST_H

#include "kernel/vcpu.h"
#include "lib/types.h"

/* FPU: x87, SSE, AVX, and XCR0. Bytes of the area that v->fpu needs; once, before the others. */
u64 guest_fpu_bytes(void);
u64 guest_fpu_cr4(void); /* bits of the host's CR4 that switching it needs */
void guest_fpu_reset(struct vcpu *v);
void guest_fpu_load(struct vcpu *v);
void guest_fpu_unload(struct vcpu *v);
void guest_fpu_sync(struct vcpu *v); /* v->xcr0 from the CPU, where XSETBV may not have exited */

/* DR0 to DR3 and DR6. */
void guest_debug_load(const struct vcpu *v);
void guest_debug_save(struct vcpu *v);

/* Exceptions with an error code: #DF #TS #NP #SS #GP #PF #AC */
#define GUEST_VECTORS_WITH_ERROR (BIT(8) | FIELD(14, 10) | BIT(17))

/* Could a CPU be in the state that ring 3 gives, in these groups? */
bool guest_state_check(const struct vcpu *v, const struct vcpu_state *s, u32 groups);
/* What of a state goes through virt->read() and virt->write(). Segments and descriptor tables are
 * left to the backend, which also writes CR0 and CR4, before the rest. */
void guest_get_state(struct vcpu *v, struct vcpu_state *s, u32 groups);
void guest_set_state(struct vcpu *v, const struct vcpu_state *s, u32 groups);

/* The state after INIT: the groups that GUEST_INIT_GROUPS names, and debug registers. */
#define GUEST_INIT_GROUPS (VCPU_STATE_GPR | VCPU_STATE_SYS | VCPU_STATE_EVENT)
void guest_init_state(struct vcpu *v, struct vcpu_state *s);

/* Registers as the guest sees them, to the kernel log. v is resident. */
void guest_dump(struct vcpu *v);

#endif
