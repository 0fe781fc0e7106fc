# Every target sets up what it needs: Python >= 3.11 with venv, git, make and the package registries are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# What this computer trusts, pip shall trust too: registries may be behind an authority of one's own.
TRUST := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(TRUST),)
export PIP_CERT ?= $(TRUST)
endif

.PHONY: help demo test test-ring check bench chaos fuzz twin lab clean up down status load

help:
	@echo "make demo    a real ring on this computer gets new certificates under load (about 3 minutes)"
	@echo "make test    the tests, on real parts (under 15 minutes); make test-ring: the long ones on real Cassandra"
	@echo "make check   formatting, lint, types, layers"
	@echo "make fuzz    random input for every parser (MINUTES=10)"
	@echo "make bench   speeds of this engine on this computer"
	@echo "make twin    the failure twin: simulated rings, faults and people around the real workflows (SEEDS=2000)"
	@echo "make chaos   every fault at every step, on real parts; MINUTES=25, goes on where it stopped, FRESH=1 starts anew"
	@echo "make bench RING=1       steps of a rollout on a real ring"
	@echo "make bench FLEET=100    100 SSH hosts, beside what people use (ANSIBLE=0 leaves Ansible out)"
	@echo "make lab up | down | status | load    the real ring by itself"

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "missing: Python 3.11 or later (found $$($(PYTHON) --version 2>&1)); name one with make PYTHON=..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "missing: the venv module of $(PYTHON) (Debian: apt install python3-venv)"; exit 2; }
	@test -x $(PY) || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the locked requirements (about 400 MB the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(PY) -m lab.demo

test: $(READY)
	@$(PY) -m pytest -m "not long" -n 2 --dist loadscope $(ARGS)

test-ring: $(READY)
	@$(PY) -m pytest -m long -n 2 --dist loadscope $(ARGS)

check: $(READY)
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

fuzz: $(READY)
	@$(PY) -m tests.fuzz $(or $(MINUTES),10)

bench: $(READY)
	@$(PY) -m bench $(if $(FLEET),--fleet $(FLEET)) $(if $(filter 0,$(ANSIBLE)),--no-ansible) $(if $(RING),--ring) $(ARGS)

chaos: $(READY)
	@MINUTES=$(MINUTES) FRESH=$(FRESH) $(PY) -m tests.chaos

twin: $(READY)
	@$(PY) -m tests.twin --seeds $(or $(SEEDS),2000) $(ARGS)

lab: $(READY)
	@$(PY) -m lab $(filter-out lab,$(MAKECMDGOALS)) $(ARGS)

# Words after `make lab`.
up down status load:
	@$(if $(filter lab,$(MAKECMDGOALS)),:,echo "say: make lab $@"; exit 2)

clean:
	@rm -rf $(VENV) .lab .cache
