# `make` alone lists the targets.
PYTHON ?= python3.11
EXPERIMENT ?= .
TARGETS ?=
WORKERS ?= auto
BASE ?= origin/main
OPTIONS ?=
SECONDS ?= 600
READER ?=
SEED ?= 0
TASK ?= blood
PORT ?= 5001
DATA ?=
OF_EXPERIMENT = $(if $(filter-out .,$(EXPERIMENT)),--experiment "$(EXPERIMENT)")
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help setup repro real retrain test types behaviour test-slow test-services test-cluster test-lowest test-newest
.PHONY: coverage fuzz lint-workflows audit format ui serve report

help: ## say what there is to do
	@echo "Terracyte: labelled images as one reproducible pipeline"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: .venv/installed ## make the environment in .venv from requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed: install Python 3.11 or call make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

repro: setup ## run what is out of date of the embedded sample (or EXPERIMENT=FOLDER), WORKERS=auto rows at a time: one per core
	@test -f "$(EXPERIMENT)/experiment.yaml" || { echo "error: EXPERIMENT is '$(EXPERIMENT)': name a folder with an experiment.yaml" >&2; exit 2; }
	@test "$(EXPERIMENT)" -ef . || cp dvc.yaml "$(EXPERIMENT)/"
	@exec terracyte repro $(TARGETS) --experiment "$(EXPERIMENT)" --workers $(WORKERS)

real: setup ## run on the challenge files: make real DATA=DIR [TARGETS="evaluate@mars-unet_final"]
	@test -f "$(DATA)/training_set.npz" -a -f "$(DATA)/mars_for_students.npz" || { echo "error: DATA is '$(DATA)': name the folder of training_set.npz and mars_for_students.npz, as in make real DATA=~/challenge" >&2; exit 2; }
	@mkdir -p challenge && folder=$$(cd "$(DATA)" && pwd) && weights=$$folder/weights && { test -d "$$weights" || weights="$(CURDIR)/data/weights"; } && \
		{ test "$(DATA)" -ef challenge || ln -sfn "$$folder/training_set.npz" "$$folder/mars_for_students.npz" "$$weights" challenge/; }
	@cp dvc.yaml params.yaml real/
	@exec terracyte repro $(TARGETS) --experiment real --workers $(WORKERS)

retrain: setup ## run what is out of date and hold it against BASE=origin/main; the gate says whether it may stay
	@exec terracyte retrain --base "$(BASE)" $(OF_EXPERIMENT) $(OPTIONS)

test: setup ## ruff, mypy and pytest
	@ruff check .
	@ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 types behaviour

types: ## mypy alone
	@mypy

behaviour: ## pytest alone
	@MAKEFLAGS= pytest --numprocesses auto --dist worksteal

test-slow: setup ## pytest's tests of minutes
	@pytest -m slow

test-services: setup ## pytest with PostgreSQL and an MLflow server, both started and ended by the tests
	@.venv/bin/pip install --quiet --disable-pip-version-check --editable ".[team]"
	@pytest -m services

test-cluster: setup ## pytest with a Ray cluster of two nodes, and trainings on several devices, all on this machine
	@.venv/bin/pip install --quiet --disable-pip-version-check --editable ".[ray,jax]"
	@pytest -m "cluster or jax"

test-lowest: ## pytest with the lowest versions that pyproject.toml allows, in .lowest
test-newest: ## pytest with the newest ones, in .newest; make test-newest PYTHON=python3.13

test-lowest: RESOLUTION := lowest-direct
# the lowest versions use what their newer dependencies deprecate: these warnings are no fault of ours
test-lowest: WARNINGS := -W default::DeprecationWarning -W default::FutureWarning
test-newest: RESOLUTION := highest
test-lowest test-newest: test-%: .uv/installed
	@test -x .$*/bin/python || $(PYTHON) -m venv .$*
	@.uv/bin/uv pip install --quiet --python .$*/bin/python --upgrade --resolution $(RESOLUTION) --editable ".[cpu,dev]"
	@PATH="$(CURDIR)/.$*/bin:$$PATH" MAKEFLAGS= pytest --numprocesses auto --dist worksteal $(WARNINGS)

coverage: setup ## pytest, and which lines and branches of terracyte/ it does not reach
	@coverage erase
	@MAKEFLAGS= coverage run -m pytest --numprocesses auto --dist worksteal
	@coverage combine --quiet
	@coverage report

fuzz: setup ## random inputs for each reader of foreign files, SECONDS=600 each: make fuzz [READER=picture] [SEED=1]
	@pytest -m "" -k test_properties --hypothesis-profile many tests/hostile
	@exec python -m tests.hostile.fuzz $(READER) --seconds $(SECONDS) --seed $(SEED)

# Environments of tools, separate from the project's.
.lint/installed .audit/installed .uv/installed: .%/installed: .github/%.txt
	@$(PYTHON) -m venv .$*
	@PYTHONPATH= .$*/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

lint-workflows: .lint/installed ## actionlint and zizmor over .github/workflows, in an environment of their own
	@.lint/bin/actionlint
	@.lint/bin/zizmor --offline --quiet .github/workflows

audit: .audit/installed ## known vulnerabilities of what requirements.lock names: pip-audit, in an environment of its own
	@# CVE-2025-69872: DVC needs diskcache, of which no release is without it; SECURITY.md says how it is met
	@.audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict --progress-spinner off \
		--ignore-vuln CVE-2025-69872

format: setup ## rewrite the code in the project's format
	@ruff check --fix .
	@ruff format .

ui: setup ## MLflow on http://127.0.0.1:5000, of the sample or EXPERIMENT=FOLDER
	@exec terracyte ui $(OF_EXPERIMENT)

serve: setup ## the champion, with a page to try it: make serve TASK=mars PORT=5001
	@exec terracyte serve $(TASK) --port $(PORT) $(OF_EXPERIMENT)

report: ## say where the report pages are, of the sample or EXPERIMENT=FOLDER
	@ls "$(EXPERIMENT)"/data/report/*.html >/dev/null 2>&1 || { echo "error: there is no report yet: run make repro" >&2; exit 2; }
	@printf 'file://%s\n' "$$(cd "$(EXPERIMENT)" && pwd)"/data/report/*.html
