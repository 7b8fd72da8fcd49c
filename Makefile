# Two commands do everything: `make demo` shows Kith at work, `make test` runs every check and test.
# Both set up what they need; nothing is installed outside this folder but downloaded packages' caches.
SHELL := /bin/bash
PYTHON ?= python3
# The machine's uv, else one of the project's own.
UV := $(shell command -v uv || echo .uv/bin/uv)
RUN := $(UV) run --frozen
# Images for containers often set it, and a test's hundreds of processes would compile three thousand modules anew each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check tests contract contract-1 contract-2 unit e2e browser fault-1 fault-2 fault-3 bench soak audit format up docs docs-serve \
	reference pictures hooks pins images

help: ## List the targets.
	@sed -n 's/^\([a-z][a-z0-9 -]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		for each in $$name; do printf '  make %-11s %s\n' "$$each" "$$text"; done; done

setup: .venv/.ready ## Install uv (into .uv where the machine has none) and everything else into .venv.

# By version and hash, as `make pins` wrote them down.
.uv/bin/uv: tools/uv.txt
	$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tools/uv.txt
	@touch $@

.venv/.ready: $(if $(filter .uv/bin/uv,$(UV)),.uv/bin/uv) pyproject.toml uv.lock
	$(UV) sync --frozen --quiet && touch $@

# make demo ARGS="--events 20000 --exit --json"
demo: setup ## Start everything with a simulated market, and check that what is stored is exact. Ctrl-C ends it.
	@$(RUN) kith demo $(ARGS)

up: setup ## Start everything without the market. Ctrl-C ends it.
	@$(RUN) kith up $(ARGS)

# Four at a time, for much of a test of real servers is waiting: each with servers of its own (one at a time where
# servers are given), the longest first, and with its report when it has ended. What kills servers comes last, in three parts.
TOGETHER = $(MAKE) --no-print-directory $(if $(filter output-sync,$(.FEATURES)),-Otarget) --keep-going
test: setup ## Run every check and every test, against real servers.
	+@$(TOGETHER) -j$(if $(KITH_MONGO),1,4) contract-1 contract-2 e2e unit browser check
	+@$(TOGETHER) -j3 fault-1 fault-2 fault-3

# Half of the files each.
contract-1 contract-2: setup
	KITH_CONTRACT_PART=$(@:contract-%=%)/2 $(RUN) pytest tests/contract $(ARGS)

# A third of the fault tests each, on servers that nothing else uses.
fault-1 fault-2 fault-3: setup
	KITH_FAULT_PART=$(@:fault-%=%)/3 $(RUN) pytest tests/fault $(ARGS)

# make unit ARGS="-k laws"; make unit ARGS=tests/unit/relations/test_laws.py runs just that file.
unit: ## Run the fast tests, or just the paths in ARGS: make unit ARGS=tests/unit/relations/test_laws.py
contract: ## Run the suite that memory and the real servers both have to pass.
e2e: ## Run whole processes against real servers.
browser: ## Run the dashboard in Chromium.
contract unit e2e browser: setup
	$(RUN) pytest $(if $(filter tests/% ./% /%,$(ARGS)),,tests/$@) $(ARGS)

check: setup reference ## Check formatting, lint, types, import contracts and the documents.
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) zensical build --strict

# make tests ARGS="tests/unit -k laws"
tests: setup ## Run any tests: make tests ARGS="tests/unit -k laws"
	$(RUN) pytest $(ARGS)

# What is made from the code; pages of docs/reference include it.
reference: setup
	@$(RUN) python -m tools.reference

docs: reference ## Build the site of docs/ into site/, strictly; open site/index.html.
	$(RUN) zensical build --strict

docs-serve: reference ## Serve the site of docs/ while you write.
	$(RUN) zensical serve

pictures: setup ## Take the pictures of the documents from a running demo (needs Chromium).
	$(RUN) python -m tools.pictures

hooks: setup ## Run ruff and mypy before each commit from now on.
	$(RUN) pre-commit install

# make bench ARGS="--quick"
bench: setup ## Measure Kith beside its peers, on this machine.
	$(UV) run --frozen --group bench python -m services.bench $(ARGS)

# make soak MINUTES=30 ARGS="--seed 7"
MINUTES ?= 30
soak: setup ## Send random faults against real processes, and report at the end: make soak MINUTES=10
	@$(RUN) python -m tests.fault.soak $(MINUTES) $(ARGS)

# Needs the vulnerability database of PyPI, which a mirror may not have.
audit: setup ## Look for known weaknesses in the locked packages.
	$(UV) export --frozen --quiet --no-emit-project --output-file .venv/locked.txt
	$(UV) run --frozen --group audit pip-audit --disable-pip --require-hashes --requirement .venv/locked.txt

# After a change of tools/pins/wanted.py. Look at the difference before you commit it.
pins: setup ## Write the hashes of all that is fetched: Kafka's jars, mongod, uv, a peer of the bench.
	$(RUN) python -m tools.pins

# Needs Docker and the images' registry. docker-compose reads both files by itself.
images: setup ## Write the images into .env and deploy/.env by digest, as their registry serves them now.
	$(RUN) python -m tools.pins.images

format: setup ## Put formatting right.
	$(RUN) ruff format && $(RUN) ruff check --fix
