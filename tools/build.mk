# SPDX-License-Identifier: MIT
# The host side: set-up, image, run, checks and tests of the whole.
PYTHON  ?= /usr/bin/python3
CHAOS_SECONDS ?= 600
BUILD_ABS := $(abspath $(BUILD))

.PHONY: setup ready image run demo lint tools-test e2e matrix linux races chaos bench test
setup: ## install what the build and the tests need, fetch the emulator
	$(Q)tools/setup

ready: # the same, when something is missing
	$(Q)tools/setup --check || tools/setup

image demo: CONFIG ?= guests/example.conf
run: CONFIG ?= guests/run.conf
run: RUN ?= --cpus 2 --platform fast
demo: RUN ?= --cpus 2

image: all ## write $(BUILD)/socle.img, a flashable disk, from CONFIG=guests/example.conf
	$(Q)BUILD=$(BUILD_ABS) tools/socle image $(CONFIG) -o $(BUILD)/socle.img
	$(Q)echo "  IMAGE   $(BUILD)/socle.img"

run: ready ## build, and run CONFIG=guests/run.conf, two Linux guests, on an emulated machine (RUN="--cpus 2 --platform fast")
demo: ready ## the same with CONFIG=guests/example.conf, nine small guests, on Bochs
run demo:
	$(Q)$(MAKE) --no-print-directory all
	$(Q)BUILD=$(BUILD_ABS) tools/socle run $(CONFIG) $(RUN)

lint: ## check the source text
	$(Q)tools/lint/run

tools-test: ## tests of the host side's own tools
	$(Q)BUILD=$(BUILD_ABS) tests/run-pytest tools tests/tools

e2e: all ## the whole system on emulated machines (E2E="-k name" for some)
	$(Q)BUILD=$(BUILD_ABS) tests/run-pytest e2e tests/e2e -m "not matrix and not races" $(E2E)

matrix: all ## the in-guest tests on all CPU models, CPU counts and interleavings
	$(Q)BUILD=$(BUILD_ABS) tests/run-pytest matrix tests/e2e -m matrix $(E2E)

linux: all ## Debian's guests wherever they run on emulated VT-x: all tests, CPU models, the older Bochs
	$(Q)BUILD=$(BUILD_ABS) tests/run-pytest linux tests/e2e -m matrix -k "linux and (bochs or ticks) and not stress" $(E2E)

races: all ## the in-guest tests of several CPUs, twenty times each on QEMU, whose CPUs are threads
	$(Q)BUILD=$(BUILD_ABS) tests/run-pytest races tests/e2e -m races $(E2E)

chaos: all ## guests that do things at random, for CHAOS_SECONDS=600 on each number of CPUs of QEMU
	$(Q)CHAOS_SECONDS=$(CHAOS_SECONDS) \
		BUILD=$(BUILD_ABS) tests/run-pytest chaos tests/e2e -k "chaos and qemu" $(E2E)

bench: all bench-programs ## measure on the emulator, write $(BUILD)/bench.json
	$(Q)BUILD=$(BUILD_ABS) tools/bench.py

test: ready ## unit tests, short fuzzing, tools, end to end
	$(Q)BUILD=$(BUILD) tests/run-all unit fuzz tools-test e2e
