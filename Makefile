# Every command of this repository. Bare `make` lists them.
#
# The last line that a target prints is `exit N` (0 holds, 1 failed, 2 bad input, 3 nondeterminism,
# 4 inconclusive, 70 internal error, 130 interrupted), because make itself turns every failure into 2.

.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
SUITE ?= full
PROFILE ?=
PYTHON ?=
LINTED := src engine/src engine/tests engine/benchmarks benchmarks tests tools sim examples
TYPED := src engine/src benchmarks tests tools sim examples

# An environment that was copied or moved with the repository still points at the old place, and
# one whose interpreter has gone does not start: both are made anew.
ifneq ($(shell $(PY) -c 0 2>/dev/null && cat $(STAMP) 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

# $(call finish,COMMAND): run it, say `exit N`, fail when N is not 0.
finish = status=0; { $(1); } || status=$$?; echo "exit $$status"; exit $$status
# $(call steps,NAMES): run step-NAME for each, all of them even when one fails.
steps = status=0; for step in $(1); do echo "── $$step"; $(MAKE) -s "step-$$step" || { status=1; \
	echo "── $$step FAILED"; }; done; echo "exit $$status"; exit $$status
present = $(wildcard $(1))
# Tests that mostly wait: two at a time, each file in one process.
PAIR := -n 2 --dist loadfile

.PHONY: help
help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | \
		sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 28
	@echo "exit 0"

.PHONY: testops-regression
testops-regression: $(STAMP)  ## qualify this repository: SUITE=full (default) or any suite in suites/
	@$(call finish,$(PY) -m testops run "$(SUITE)" $(if $(PROFILE),--profile "$(PROFILE)"))

.PHONY: up
up: $(STAMP)  ## the platform on this machine: API, event streams and a runner; PORT=8080
	@$(call finish,$(PY) -m testops serve $(if $(PORT),--port $(PORT)))

.PHONY: test
test: $(STAMP)  ## everything that must hold before a push: lint, unit, api, engine, simulation, crash, acceptance
	@$(call steps,lint unit api engine simulation crash acceptance)

.PHONY: test-long
test-long: $(STAMP)  ## the tests marked long
	@$(call steps,long)

.PHONY: lint
lint: $(STAMP)  ## ruff, format, mypy --strict, import directions
	@$(call steps,lint)

.PHONY: openapi
openapi: $(STAMP)  ## write openapi/testops.v1.json, the contract of the API, from the code
	@$(call finish,$(PY) tools/write_openapi.py)

.PHONY: release-notes
release-notes: $(STAMP)  ## write the notes of a release from fragments and evidence: VERSION=x.y.z; DRAFT=1 prints only
	@$(call finish,$(PY) tools/release_notes.py "$(VERSION)" $(if $(DRAFT),--draft))

.PHONY: crash-sweep
crash-sweep: $(STAMP)  ## kill each part of the platform at each event of a run: SEED=1 LAYOUT=sqlite|serve|postgres
	@$(call finish,$(PY) -m tests.crash.sweep $(if $(SEED),--seed $(SEED)) \
		$(if $(LAYOUT),--layout $(LAYOUT)) $(if $(VICTIM),--victim $(VICTIM)) $(if $(AT),--at $(AT)))

.PHONY: bench
bench: $(STAMP)  ## measure the engine and the event streams
	@$(call steps,bench)

.PHONY: fuzz
fuzz: $(STAMP)  ## the readers of bundles and certificates under 100,000 hostile inputs each: SEED=1
	@$(call finish,for reader in bundle certificate; do folder=$$(mktemp -d) && \
		$(PY) -m tests.fuzz.attack $$reader --seed $(or $(SEED),1) --folder $$folder || exit 1; \
		rm -rf $$folder; done)

.PHONY: compat
compat: $(STAMP)  ## the acceptance matrix of Toron: PROGRAMS="s01 s02" SEEDS=20 ON=3.12; WIDE=1: the others
	@$(call finish,$(PY) engine/tests/conformance/matrix.py $(PROGRAMS) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(ON),--python $(ON)) $(if $(WIDE),--wide))

.PHONY: zoo
zoo: $(STAMP)  ## real bugs in pinned versions, and their fixed twins: BUG="id id" RUNS=2000 SEEDS=from:to STRATEGY=
	@$(call finish,$(PY) engine/tests/bug_zoo/zoo.py $(BUG) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(STRATEGY),--strategy $(STRATEGY)) $(if $(JOBS),--jobs $(JOBS)))

.PHONY: clean
clean:  ## remove the environment and everything that a run leaves behind
	@$(call finish,rm -rf $(VENV) .venv-compat-3.* .venv-wide-3.* .venv-bench-3.* .venv-zoo-* snapshots/dev snapshots/runs snapshots/run-*.tar.gz snapshots/.[!.]* \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage \
		&& find reports -mindepth 1 ! -name README.md -delete 2>/dev/null || true)

.PHONY: step-lint step-unit step-api step-engine step-simulation step-crash step-acceptance step-long step-bench
step-lint:
	@status=0; \
	$(PY) -m ruff check $(call present,$(LINTED)) || status=1; \
	$(PY) -m ruff format --check $(call present,$(LINTED)) || status=1; \
	$(PY) -m mypy $(call present,$(TYPED)) || status=1; \
	$(VENV)/bin/lint-imports --no-logo || status=1; \
	exit $$status

step-unit:
	@$(PY) -m pytest -q $(PAIR) -m "not long" tests/unit $(call present,tests/architecture) tests/fuzz

step-api:
	@$(PY) -m pytest -q $(PAIR) tests/api -m "not long"

step-engine:
	@$(PY) -m pytest -q $(PAIR) -c pyproject.toml --rootdir . engine/tests -m "not long"

step-simulation:
	@$(PY) -m pytest -q tests/simulation -m "not long"

step-crash:
	@$(PY) -m pytest -q tests/crash -m "not long"

step-acceptance:
	@$(PY) -m pytest -q tests/acceptance -m "not long"

step-long:
	@$(PY) -m pytest -q -c pyproject.toml --rootdir . tests engine/tests -m long

step-bench:
	@for bench in $(call present,engine/benchmarks/*.py benchmarks/*/bench_*.py); do $(PY) "$$bench" || exit 1; done

$(STAMP): pyproject.toml engine/pyproject.toml constraints.txt
	@tools/make_environment.sh "$(VENV)" "$(STAMP)" "$(CURDIR)" $(PYTHON) || \
		{ status=$$?; echo "exit $$status"; exit $$status; }
