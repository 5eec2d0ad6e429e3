# Two commands are enough: `make demo` and `make test`. Both set up their own .venv from requirements.lock.
# Paths are quoted throughout: a checkout may lie under a path with a space in it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv-peers/.installed
PRODUCTION := .venv-production/.installed
MUTANTS := .venv-mutants/.installed
AUDIT := .venv-audit/.installed
SBOM ?= build/sbom.cdx.json

.PHONY: help install demo dev test test-production bench-production check peers bench soak attacks crash pictures mutants \
  audit fmt lock

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## set up .venv with the pinned packages

# uv is bootstrapped into the venv by pip, hashes checked; everything else is uv's, hashes checked.
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed; set PYTHON=/path/to/python3")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	awk '/^[a-z]/ {keep = /^uv==/} keep' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	$(BIN)/python -m uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	$(BIN)/python -m uv pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m research_to_prod.kernels
	touch $(INSTALLED)

demo: install ## run the whole graph once on the sandbox venue (about two minutes)
	$(BIN)/python -m research_to_prod.cli demo

dev: install ## open the Dagster UI on http://127.0.0.1:3000 with the demo's history
	$(BIN)/python -m research_to_prod.cli ui

test: install ## run all tests, a file a process, two at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-production: $(PRODUCTION) ## run the demo's graph on Postgres, Redis, S3 and two Celery workers, all started here
	.venv-production/bin/python -m pytest tests/production

bench-production: $(PRODUCTION) ## time a backfill of 40 months on the same services, with one worker and with two
	.venv-production/bin/python -m tests.production.backfill

$(PRODUCTION): $(INSTALLED) tests/production/requirements.lock
	test -x .venv-production/bin/python || $(BIN)/python -m venv --without-pip .venv-production
	$(BIN)/python -m uv pip sync --quiet --compile-bytecode --require-hashes --python .venv-production/bin/python \
	  tests/production/requirements.lock
	$(BIN)/python -m uv pip install --quiet --no-deps --no-build-isolation --python .venv-production/bin/python -e .
	touch $(PRODUCTION)

check: install ## lint, format check, types, definitions
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -W ignore -m dagster definitions validate -w workspace.yaml

peers: $(PEERS) ## set up .venv-peers: the project beside the libraries that its benchmarks are timed against

$(PEERS): $(INSTALLED) benchmarks/requirements.lock
	test -x .venv-peers/bin/python || $(BIN)/python -m venv --without-pip .venv-peers
	$(BIN)/python -m uv pip sync --quiet --compile-bytecode --require-hashes --python .venv-peers/bin/python \
	  benchmarks/requirements.lock
	touch $(PEERS)

bench: peers ## run all benchmarks, or BENCHMARKS="lake ledger", and write docs/performance.md; fails when a target is missed
	.venv-peers/bin/python -m benchmarks $(BENCHMARKS)

soak: install ## a day on the sandbox venue at full speed, with faults on the wire (minutes)
	$(BIN)/python -m benchmarks.soak

attacks: install ## run the attacks on the ledger again and write their table into docs/audit.md
	$(BIN)/python -m benchmarks.ledger_attacks

crash: install ## kill every writer and break its disk; write into docs/reliability.md what held (a quarter of an hour)
	$(BIN)/python -m tests.crash

pictures: demo ## walk through the UI on the demo's data and take the pictures of README and docs again
	$(BIN)/python -m tests.end_to_end.ui docs/pictures

mutants: $(MUTANTS) ## break verdict, proof and verifier code on purpose; write into docs/mutants.md what no test noticed (hours; MODULES=gates.gate for one)
	$(BIN)/python -m benchmarks.mutants $(MODULES)

# mutmut runs the tests on the packages of .venv, and is kept out of it.
$(MUTANTS): $(INSTALLED)
	test -x .venv-mutants/bin/python || $(BIN)/python -m uv venv --quiet --python $(BIN)/python .venv-mutants
	$(BIN)/python -m uv pip install --quiet --python .venv-mutants/bin/python mutmut==3.8.1
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(.venv-mutants/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/locked.pth"
	touch $(MUTANTS)

audit: $(AUDIT) ## write SBOM=build/sbom.cdx.json; look up every pinned package in OSV: one that could not be is a failure too
	mkdir -p "$(dir $(SBOM))"
	.venv-audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o "$(SBOM)" requirements.lock
	.venv-audit/bin/pip-audit -r requirements.lock -r tests/production/requirements.lock --require-hashes --disable-pip \
	  --strict -s osv $(if $(OSV),--osv-url "$(OSV)") --progress-spinner off \
	  || { echo "make audit: a package is vulnerable or could not be looked up, see above" >&2; exit 1; }

$(AUDIT): $(INSTALLED)
	test -x .venv-audit/bin/python || $(BIN)/python -m uv venv --quiet --python $(BIN)/python .venv-audit
	$(BIN)/python -m uv pip install --quiet --python .venv-audit/bin/python pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $(AUDIT)

fmt: install ## format and fix what can be fixed
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

lock: install ## resolve the dependencies of pyproject.toml again
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --upgrade pyproject.toml --group dev -o requirements.lock
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --upgrade pyproject.toml --group peers --constraint requirements.lock -o benchmarks/requirements.lock
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --upgrade pyproject.toml --extra production --group dev --group servers --constraint requirements.lock \
	  -o tests/production/requirements.lock
