# `make` alone says what there is to do.
PYTHON ?= python3.11
TARGETS ?=
WORKERS ?= 2
BASE ?= origin/main
OPTIONS ?=
TASK ?= blood
PORT ?= 5001
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export PYTHONPATH := $(CURDIR)

# What a run on the challenge files changes in params.yaml, beside the sources: longer trainings on two cores, from
# pretrained weights where DATA/weights or data/weights holds them. CHANGES="-S seeds=[0,1,2]" changes more.
REAL := -S reference.blood.epochs=20 -S reference.blood.patience=20 -S reference.blood.resolution=128 -S reference.blood.weight_averaging=0.998 \
	-S reference.blood.test_time_flips=true -S ++variants.blood-convnext.change.epochs=6 \
	-S ++variants.blood-mobilenet_v3_large.change.epochs=14 -S ++variants.blood-mobilenet_v3_from_scratch.change.epochs=14 \
	-S ++variants.blood-mobilenet_v3_head_only.change.epochs=14 -S ++variants.blood-mobilenet_v3_lean.change.epochs=14 \
	-S ++variants.blood-mobilenet_v3_high_resolution.change.epochs=14 -S variants.blood-mobilenet_v3_high_resolution.change.resolution=160 \
	-S tune.blood.trials=0 -S tune.mars.trials=0 \
	-S reference.mars.epochs=16 -S reference.mars.patience=16 -S reference.mars.weight_averaging=0.998 \
	-S ++variants.mars-unet_1.change.epochs=40 -S ++variants.mars-unet_1.change.patience=40 \
	-S ++variants.mars-unet_2.change.epochs=40 -S ++variants.mars-unet_2.change.patience=40 \
	-S ++variants.mars-unet_3.change.epochs=40 -S ++variants.mars-unet_3.change.patience=40 \
	-S ++variants.mars-unet_4.change.epochs=40 -S ++variants.mars-unet_4.change.patience=40 \
	-S ++variants.mars-final_longer.change.epochs=48 -S ++variants.mars-final_longer.change.patience=48 \
	-S ++variants.mars-unet_final.change.epochs=40 -S ++variants.mars-unet_final.change.patience=40
CHANGES ?=
REAL_RUN = folder=$$(realpath "$(DATA)") && weights=$$folder/weights && { test -d "$$weights" || weights=data/weights; } && \
	dvc exp run $(REAL) $(CHANGES) -S "fetch.folder='$$weights'" \
	-S data.blood.source=challenge -S "data.blood.path='$$folder/training_set.npz'" \
	-S data.mars.source=challenge -S "data.mars.path='$$folder/mars_for_students.npz'" $(TARGETS)

# DVC removes what a stage declares before it runs the stage. After a failure the previous outputs come back: cached
# ones by checkout, the others from a copy.
define keeping_outputs
	@mkdir -p data metrics && rm -rf data/.metrics && cp -R metrics data/.metrics
	@$(1) || { dvc checkout --quiet 2>/dev/null; cp -Rn data/.metrics/. metrics/ || true; exit 2; }
endef

.DEFAULT_GOAL := help
.PHONY: help setup repro repro-parallel real retrain test test-services test-cluster lint-workflows format ui serve report

help: ## say what there is to do
	@echo "Terracyte: two image challenges as one reproducible pipeline"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: .venv/installed ## make the environment in .venv from requirements.lock

.venv/installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed: install Python 3.11 or call make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

repro: setup ## run what is out of date, on the source that params.yaml names (the embedded sample)
	@python -m terracyte.params.check
	$(call keeping_outputs,dvc repro $(TARGETS))

repro-parallel: setup ## the same, WORKERS=2 variants at a time: make repro-parallel WORKERS=4
	@python -m terracyte.params.check
	$(call keeping_outputs,python -m terracyte.compute.side_by_side --workers $(WORKERS))

real: setup ## run on the challenge files: make real DATA=DIR [TARGETS="evaluate@mars-unet_final"]
	@test -n "$(DATA)" || { echo "error: DATA is empty: name the folder of training_set.npz and mars_for_students.npz, as in make real DATA=~/challenge" >&2; exit 2; }
	@python -m terracyte.params.check --challenge "$(DATA)"
	$(call keeping_outputs,$(REAL_RUN))

retrain: setup ## run what is out of date and hold it against BASE=origin/main; the gate says whether it may stay
	@python -m terracyte.retrain.command --base "$(BASE)" $(OPTIONS)

test: setup ## ruff, mypy and pytest
	@ruff check .
	@ruff format --check .
	@mypy
	@pytest --numprocesses auto --dist worksteal

test-services: setup ## pytest with PostgreSQL and an MLflow server, both started and ended by the tests
	@.venv/bin/pip install --quiet --disable-pip-version-check --editable ".[team]"
	@pytest -m services

test-cluster: setup ## pytest with a Ray cluster of two nodes, and trainings on several devices, all on this machine
	@.venv/bin/pip install --quiet --disable-pip-version-check --editable ".[ray,jax]"
	@pytest -m "cluster or jax"

lint-workflows: ## actionlint and zizmor over .github/workflows, in an environment of their own
	@test -x .lint/bin/zizmor || { $(PYTHON) -m venv .lint && \
		.lint/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement .github/lint.txt; }
	@.lint/bin/actionlint
	@.lint/bin/zizmor --offline --quiet .github/workflows

format: setup ## rewrite the code in the project's format
	@ruff check --fix .
	@ruff format .

ui: setup ## MLflow on http://127.0.0.1:5000
	@python -m terracyte.report.ui

serve: setup ## the champion behind MLflow's model server, with a page to try it: make serve TASK=mars PORT=5001
	@python -m terracyte.cli serve $(TASK) --port $(PORT)

report: ## say where the report page is
	@test -f data/report/index.html && echo "file://$(CURDIR)/data/report/index.html" || { echo "error: there is no report yet: run make repro" >&2; exit 2; }
