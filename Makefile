# Each target works in a fresh clone with nothing but Python, pip and make.
PYTHON ?= python3
EDGE   := .venv-edge
DEV    := .venv
LEGACY := .venv-legacy
NEWEST := .venv-newest
PYTHONS := .venv-pythons
DATA   ?= data/ravdess
IMAGES ?= images/ravdess
NAME   ?= compact
# Which build of torch: auto, cpu (without CUDA's libraries), cuda.
TORCH  ?= auto

# What pip installs of the project.
PACKAGE := pyproject.toml $(shell find ser_edge edge_app -name "*.py") $(wildcard edge_app/server/web/* ir/$(NAME)/*/*)

# Tests are divided among processes, one a core; the project's own code is what uses threads.
PYTEST := $(DEV)/bin/python -m pytest
SPREAD := --numprocesses auto --dist worksteal

.PHONY: help demo test test-all test-system test-legacy test-newest test-pythons coverage lock lint
.PHONY: format docs bad-days speed benchmark notebook samples wheel data images train export clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(EDGE)/.done  ## set up the light edge environment and classify the samples
	$(EDGE)/bin/edge-app predict samples

test: $(DEV)/.done  ## set up the development environment; unit and component tests, minutes
	$(PYTEST) $(SPREAD) -m 'unit or component'

test-all: test test-system test-legacy  ## every test: beside those of test, system and legacy

test-system: $(DEV)/.all  ## tests of whole processes: browser, broker, Ray, kill -9, wheel, notebook
	$(PYTEST) $(SPREAD) -m system

test-legacy: $(DEV)/.done $(LEGACY)/.done  ## the same answers from OpenVINO 2022.3.2, Python 3.10
	SER_LEGACY_PYTHON=$(CURDIR)/$(LEGACY)/bin/python $(PYTEST) -m legacy

test-newest: $(DEV)/.done  ## the tests with the newest releases, no lock: which one breaks what
	$(PYTHON) scripts/test_newest.py $(NEWEST) $(DEV)

test-pythons:  ## edge install, demo and unit tests on every Python from 3.10 that is found
	$(PYTHON) scripts/test_pythons.py $(PYTHONS)

coverage: $(DEV)/.all  ## lines that all tests but legacy's run, in htmlcov/
	$(PYTEST) $(SPREAD) --cov --cov-report term --cov-report html

lock:  ## renew requirements/*.txt: the newest versions that fit together
	$(PYTHON) scripts/lock.py

lint: $(DEV)/.done  ## ruff, mypy and the import contracts
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports --no-logo

format: $(DEV)/.done  ## let ruff format the code
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

docs: $(DEV)/.all  ## build the site of docs/ into build/site; no network
	$(DEV)/bin/mkdocs build --strict

bad-days: $(DEV)/.done  ## 2,000 broken sounds through edge-app, the table into docs/results/malformed.md
	$(DEV)/bin/python benchmarks/malformed.py --into docs/results/malformed.md

speed: $(DEV)/.done  ## the edge app beside others on 1 and 2 cores, into docs/results/speed.md; quiet machine
	$(DEV)/bin/python benchmarks/edge.py --threads 1 --into docs/results/speed.md
	$(DEV)/bin/python benchmarks/edge.py --threads 2 --into docs/results/speed.md

benchmark: $(DEV)/.done  ## mel image beside librosa's, samples a second in training; quiet machine
	$(DEV)/bin/python benchmarks/melimage.py
	$(DEV)/bin/python benchmarks/training_input.py

notebook: $(DEV)/.all  ## open notebooks/first-model.ipynb in the browser
	$(DEV)/bin/pip install --quiet -e '.[notebook]'
	$(DEV)/bin/jupyter lab notebooks/first-model.ipynb

samples:  ## make samples/ again (needs espeak-ng)
	$(PYTHON) scripts/make_samples.py samples

wheel: $(DEV)/.done  ## build dist/*.whl
	$(DEV)/bin/python -m build --wheel --no-isolation

data: $(DEV)/.done  ## download RAVDESS (CC BY-NC-SA 4.0, 430 MB) into data/ravdess
	$(DEV)/bin/python scripts/download.py ravdess --out $(DATA)

images: $(DEV)/.done  ## render DATA to mel images
	$(DEV)/bin/python scripts/render.py $(DATA) $(IMAGES) --config configs/$(NAME).yaml

STAGES := $(wildcard configs/$(NAME)-stages.yaml)

train: $(DEV)/.all  ## train configs/NAME.yaml on five folds and on all actors, package models/NAME
ifneq ($(STAGES),)
	$(DEV)/bin/python scripts/experiments.py $(STAGES) $(dir $(DATA)) runs/$(NAME) \
	  --images $(dir $(IMAGES)) --folds 1 2 3 4 5 all
	$(DEV)/bin/python scripts/package_model.py models/$(NAME) --final runs/$(NAME)/$(NAME)/fold-all \
	  --folds $(foreach fold,1 2 3 4 5,runs/$(NAME)/$(NAME)/fold-$(fold))
else
	$(DEV)/bin/python scripts/evaluate.py $(IMAGES) runs/$(NAME) --config configs/$(NAME).yaml \
	  --sounds $(DATA)
	test -f runs/$(NAME)/all/metrics.json || \
	  $(DEV)/bin/python scripts/train.py $(IMAGES) runs/$(NAME)/all --fold all --resume \
	    --config configs/$(NAME).yaml --sounds $(DATA)
	$(DEV)/bin/python scripts/package_model.py models/$(NAME) \
	  --final runs/$(NAME)/all --folds $(foreach fold,1 2 3 4 5,runs/$(NAME)/fold-$(fold))
endif

export: $(DEV)/.done  ## models/NAME -> ir/NAME
	scripts/export_ir.sh $(NAME) --images $(IMAGES)

clean:  ## remove environments and caches, keep data, images and runs
	rm -rf $(EDGE) $(DEV) $(LEGACY) $(NEWEST) $(PYTHONS) dist build htmlcov .coverage .pytest_cache \
	  .mypy_cache .ruff_cache

# Not editable, as users have it; made again when what it installs has changed.
$(EDGE)/.done: requirements/edge.txt $(PACKAGE)
	$(PYTHON) scripts/environment.py $(EDGE) requirements/edge.txt
	@touch $@

$(DEV)/.done: requirements/dev.txt pyproject.toml
	$(PYTHON) scripts/environment.py $(DEV) requirements/dev.txt --editable --torch $(TORCH)
	@touch $@

# The same versions and more: large packages, and what drives a browser or a notebook.
$(DEV)/.all: $(DEV)/.done requirements/all.txt
	$(PYTHON) scripts/environment.py $(DEV) requirements/all.txt --editable --torch $(TORCH) --update
	@touch $@

$(LEGACY)/.done: requirements/legacy.txt $(PACKAGE)
	$(PYTHON) scripts/legacy_env.py $(LEGACY)
	@touch $@
