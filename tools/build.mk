# SPDX-License-Identifier: MIT
# The host side: set-up, image, run, tests of the whole.
PYTHON ?= /usr/bin/python3

.PHONY: setup
setup: ## install what the build and the tests need, fetch the emulator
	$(Q)tools/setup
