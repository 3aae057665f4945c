# One command for each thing one does with a checkout. "make" alone tells which.

PYTHON ?= /usr/bin/python3
# Kernel of the kernel tests: auto, host or uml.
LANE ?= auto
# by-hand: install no Debian packages.
PACKAGES ?= apt
# More arguments for pytest, e.g. make unit ARGS="-k journal".
ARGS ?=
# How long the random soak goes on, how often the daemon is crashed, and the dice (0: any).
SECONDS ?= 600
CRASHES ?= 1000
SEED ?= 0

VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python -m

ACCEPTANCE_PACKAGES := [ $(PACKAGES) = by-hand ] || \
	.ci/apt-install $$(awk '!/^\#/ && NF { print $$1 }' .ci/packages-acceptance)

CLEAN_PACKAGES := [ $(PACKAGES) = by-hand ] || \
	.ci/apt-install $$(awk '!/^\#/ && NF { print $$1 }' .ci/packages-newcomer)
.DEFAULT_GOAL := help
.PHONY: help setup test lint unit kernel soak varlinkctl fuzz bench demo commands acceptance newcomer install \
	practice phone practice-end deb deb-trial wheel uninstall clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## install what is missing: Debian packages, .venv

$(READY): pyproject.toml .ci/constraints.txt .ci/packages .ci/setup .ci/apt-install
	.ci/setup $(PYTHON) $(PACKAGES)
	@touch $@

test: $(READY) ## everything: lint, unit and kernel
	@$(RUN) tests.suite --lane $(LANE) lint unit kernel -- $(ARGS)

lint: $(READY) ## format, rules, types, import contracts, unit files, scripts
	@$(RUN) tests.suite lint -- $(ARGS)

unit: $(READY) ## tests that need no kernel
	@$(RUN) tests.suite unit -- $(ARGS)

kernel: $(READY) ## tests on a kernel with ESP: this one, or User-mode Linux
	@$(RUN) tests.suite --lane $(LANE) kernel -- $(ARGS)

soak: export SAD_SOAK_SECONDS = $(SECONDS)
soak: export SAD_SOAK_CRASHES = $(CRASHES)
soak: export SAD_SOAK_SEED = $(SEED)
soak: export SAD_LANE_TIMEOUT = $(shell expr $(SECONDS) + 7200)
soak: $(READY) ## long proofs on a kernel with ESP: crowds, crashes, random lives (SECONDS=600)
	@$(RUN) tests.suite --lane $(LANE) soak -- $(ARGS)

varlinkctl: $(READY) ## the socket with systemd's own client, that of Debian 13 where there is none
	@command -v varlinkctl >/dev/null || [ $(PACKAGES) = by-hand ] || .ci/apt-install mmdebstrap
	@$(RUN) tests.suite varlinkctl -- $(ARGS)

fuzz: $(READY) ## look for headers that break the agreement, guided by coverage (SECONDS=600)
	@$(RUN) pip install --quiet --constraint .ci/constraints.txt --editable '.[fuzz]' || \
		echo "fuzz: atheris cannot be installed here, so hypothesis will do"
	@$(RUN) tests.fuzz --seconds $(SECONDS) $(ARGS)

bench: $(READY) ## how fast, in ratios to C and to others on the same machine (ARGS="--row 1")
	@$(RUN) pip install --quiet --constraint .ci/constraints.txt --editable '.[bench]'
	@$(RUN) tests.bench --lane $(LANE) $(ARGS)

demo: $(READY) ## the whole way of a registration, before your eyes
	@$(RUN) tests.lane --print-lane --lane $(LANE) -- $(RUN) tests.demo

commands: $(READY) ## write sad/docs/commands.md anew: what each command prints on a live edge
	@$(RUN) tests.lane --lane $(LANE) -- $(RUN) tests.face >build/commands.md
	@mv build/commands.md sad/docs/commands.md

acceptance: $(READY) ## the service in two Vagrant machines, from nothing to a table (half an hour)
	@$(ACCEPTANCE_PACKAGES)
	@$(RUN) tests.acceptance $(ARGS)

newcomer: $(READY) ## follow the README on a clean Debian in a guest, to a protected registration
	@$(CLEAN_PACKAGES)
	@$(RUN) tests.newcomer page

install: ## as a systemd service: PREFIX=/opt/sad, DESTDIR; an upgrade keeps associations
	@.ci/install install

practice: ## the examples' addresses on this machine, a phone and a core behind them (root)
	@tests/practice/run network

phone: ## register the phone of the practice through the installed sad and Kamailio (root)
	@tests/practice/run phone

practice-end: ## remove the practice network (root)
	@tests/practice/run end

deb: ## the Debian package, into build/; lintian looks at it
	@.ci/apt-install $$(awk '!/^\#/ && NF { print $$1 }' .ci/packages-deb)
	@.ci/deb

deb-trial: $(READY) ## the same way with the package, then its upgrade under a phone, removal, purge
	@$(CLEAN_PACKAGES)
	@$(RUN) tests.newcomer package

wheel: $(READY) ## the package sip_hooks alone, into build/
	@.ci/wheel

uninstall: ## stop it, clear the kernel of it, remove its files; /etc/sad stays
	@.ci/install uninstall

clean: ## remove caches and results
	rm -rf build .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find netlink sad sip_hooks tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV) *.egg-info
