# SPDX-License-Identifier: MIT
# The UEFI loader: $(BUILD)/BOOTX64.EFI
.PHONY: loader
loader:
