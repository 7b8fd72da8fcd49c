# Two commands do everything: `make demo` shows Kith at work, `make test` runs every check and test.
# Both set up what they need; nothing is installed outside this folder but downloaded packages' caches.
SHELL := /bin/bash
PYTHON ?= python3
# The machine's uv, else one of the project's own.
UV := $(shell command -v uv || echo .uv/bin/uv)
RUN := $(UV) run --frozen

.PHONY: setup demo test check tests contract unit e2e browser bench soak audit format up

setup: .venv/.ready

.uv/bin/uv:
	$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv

.venv/.ready: $(if $(filter .uv/bin/uv,$(UV)),.uv/bin/uv) pyproject.toml uv.lock
	$(UV) sync --frozen --quiet && touch $@

# make demo ARGS="--events 20000 --exit --json"
demo: setup
	@$(RUN) kith demo $(ARGS)

up: setup
	@$(RUN) kith up $(ARGS)

# Two at a time, for much of a test of real servers is waiting: each with servers of its own (one at a time where servers
# are given), and with its report when it has ended. What kills servers comes last and alone.
test: setup
	@$(MAKE) --no-print-directory -j$(if $(KITH_MONGO),1,2) $(if $(filter output-sync,$(.FEATURES)),-Otarget) \
		contract check unit e2e browser
	$(RUN) pytest tests/fault $(ARGS)

# make unit ARGS="-k laws"
contract unit e2e browser: setup
	$(RUN) pytest tests/$@ $(ARGS)

check: setup
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	$(RUN) lint-imports

# make tests ARGS="tests/unit -k laws"
tests: setup
	$(RUN) pytest $(ARGS)

# Kith beside its peers, on this machine: make bench ARGS="--quick"
bench: setup
	$(UV) run --frozen --group bench python -m services.bench $(ARGS)

# Random faults against real processes, and at the end a report: make soak MINUTES=30 ARGS="--seed 7"
MINUTES ?= 30
soak: setup
	@$(RUN) python -m tests.fault.soak $(MINUTES) $(ARGS)

# Known weaknesses of what is locked; needs the vulnerability database of PyPI, which a mirror may not have.
audit: setup
	$(UV) export --frozen --quiet --no-emit-project --output-file .venv/locked.txt
	$(UV) tool run pip-audit --disable-pip --require-hashes --requirement .venv/locked.txt

format: setup
	$(RUN) ruff format && $(RUN) ruff check --fix
