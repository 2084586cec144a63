# The verbs. CI calls only these, so what runs there runs here.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE ?= all
NAME ?= sampling
SMALL ?=
# Two threads on a shared core can cost forty times one: the stages set their own.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export DVC_NO_ANALYTICS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install install-test data repro test lint types contracts unit compile examples golden reference serve rollout wandb-sync benchmark manifests images image-proof locks clean

help: ## List every verb with one line each
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(VENV)/installed ## Make the environment: .venv with every version pinned

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

install-test: $(VENV)/installed-test ## The same environment with the test extras

$(VENV)/installed-test: $(VENV)/installed requirements-test.lock
	$(BIN)/python -m pip install --quiet -r requirements-test.lock
	@touch $@

data: install ## Fetch the data that data.dvc names
	dvc pull --quiet data.dvc

repro: data ## Run every stage that is not up to date, and name what it made
	GRAPHMILL_RUN="$${GRAPHMILL_RUN:-repro-$$(date -u +%Y%m%dT%H%M%SZ)}" dvc repro
	python -m graphmill.evaluate

lint: install-test ## Style
	ruff check .
	ruff format --check .

types: install-test ## Types
	mypy

contracts: install-test ## Who may import whom
	lint-imports

unit: install-test ## The whole test suite
	python -m pytest

test: lint types contracts unit ## Lint, types, import contracts and the whole test suite

compile: install ## Write the pipelines as YAML into compiled/
	python -m pipelines compile

golden: install ## Rewrite the compiled pipelines that the tests compare with
	GRAPHMILL_IMAGE="graphmill-stage@sha256:$$(printf %064d 0)" python -m pipelines compile --output tests/golden

serve: install ## Serve the local champion over the sample's live graph on port 8080, and print three curl lines
	python -m graphmill.serving --model champion --graph artifacts --state artifacts/serving --insecure_local

rollout: install ## Bring the registry's candidate into production on this machine: two predictors, a front on port 8080, short steps
	python -m graphmill.rollout start --rate 50 --minutes 0.5

wandb-sync: install ## Send the W&B runs that were recorded without a key or a network
	python -m graphmill.tracking sync

benchmark: install ## Measure against a peer in the same run (NAME=sampling, training, inference, windows, build, serving, guards, policy; SMALL=--small)
	python -m benchmarks $(NAME) $(SMALL)

manifests: install-test ## Build every overlay of manifests/ into compiled/manifests, and say what a cluster would refuse
	python -m graphmill.deploy build

images: install ## Build the images stage and serve with Docker (IMAGES=registry/path/ is put before their names)
	sh images/build.sh

image-proof: install-test ## Do what the Dockerfile does without Docker, and serve read-only as user 1000 (root; minutes)
	GRAPHMILL_IMAGE_PROOF=1 python -m pytest -v -s tests/test_image_proof.py

locks: ## Write the digests of what the lock files name into images/, with uv
	sh images/lock.sh

reference: install ## Rewrite docs/parameters.md from the code
	python -m pipelines.reference > docs/parameters.md

examples: install ## Run the public data sets (EXAMPLE=tolokers for one) and print them beside the published figures
	python -m examples $(EXAMPLE)

clean: ## Remove what the stages made: artifacts, registry, compiled pipelines, compiled kernels
	rm -rf artifacts registry compiled
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/graphmill"
