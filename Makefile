# Everything a fresh Debian 12 machine needs: `make demo`, `make test`, `make check`, `make sample`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test check sample nightly bench setup packages lock clean

PACKAGES := $(shell grep -v '^\#' packages.txt)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
STAMPS := .make
PYTEST := .venv/bin/pytest

help: ## Say what each target does.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: setup ## Install Xen and KVM on the virtual rack, test and measure them, build the report.
	$(PYTEST) testcases --rack virtual --pair --hypervisor xen-4.17-debian12 --hypervisor kvm-debian12 -n auto -q
	.venv/bin/lab report build

test: setup ## Run the lab's own tests (at most 5 minutes; no virtual server boots a hypervisor).
	$(PYTEST) tests -m "not nightly" -q -n 4 --dist worksteal

check: setup ## Ruff and mypy --strict.
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

sample: setup ## Six cells of the fault matrix: installs under BMC quirks and faults (at most 5 minutes).
	.venv/bin/python -m tests.matrix --sample

nightly: setup ## The longer proofs, resumable cell by cell.
	.venv/bin/python -m tests.nightly

bench: setup ## Our speed beside the peers', in one run.
	.venv/bin/python -m benchmarks.provision
	.venv/bin/python -m benchmarks.overhead
	.venv/bin/python -m benchmarks.bmc

setup: packages $(STAMPS)/python $(STAMPS)/node

packages: ## Install the Debian packages that are missing.
	@missing=""; for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing"; \
	  $(SUDO) apt-get update -q; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi

$(STAMPS)/python: pyproject.toml requirements.lock | packages
	test -x .venv/bin/python || python3 -m venv .venv
	.venv/bin/pip install -q --require-hashes -r requirements.lock
	.venv/bin/pip install -q --no-deps --no-build-isolation -e .
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/node: package-lock.json $(STAMPS)/python
	PATH="$(CURDIR)/.venv/bin:$$PATH" npm ci --no-audit --no-fund --loglevel=error
	mkdir -p $(STAMPS) && touch $@

lock: ## Write requirements.lock anew from pyproject.toml.
	.venv/bin/pip install -q pip-tools
	.venv/bin/pip-compile -q --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --all-extras --all-build-deps -o requirements.lock pyproject.toml

clean: ## Remove what setup made (images stay in the user's cache).
	rm -rf .venv node_modules $(STAMPS)
