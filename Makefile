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
.PHONY: help install install-test data repro test lint types contracts unit compile examples golden reference serve rollout wandb-sync benchmark manifests images image-proof locks clean \
	workflows services retrain-local drift-local report comment guard intact remote fetch upload submit outputs push \
	propose-data propose-lock answer-drift publish-images image-reference kubeconfig promote doctor kind kind-down wheel release

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
	python -m pytest -n auto --dist loadfile

workflows: install-test ## GitHub's workflows: their schema, and no finding of zizmor's above low
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	zizmor --offline --quiet --no-progress --min-severity medium .github

services: ## Install what some tests run beside Python: Redis and Prometheus (Debian, Ubuntu)
	@command -v redis-server > /dev/null && command -v promtool > /dev/null && exit; \
		[ "$$(id -u)" = 0 ] || sudo=sudo; $$sudo apt-get update -q && $$sudo apt-get install -q -y --no-install-recommends redis-server prometheus

test: lint types contracts workflows unit ## Lint, types, import contracts, workflows and the whole test suite

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

# --- what the workflows call (docs/github.md); values come from the environment, never from a command line
retrain-local: install ## What the workflow retrain does, step by step, on this machine (ARGS=--engine=pipeline; REASON, OVERRIDES)
	python -m automation retrain $(ARGS)

drift-local: install ## What the workflow drift does: the newest data against the trained model, and the decision
	python -m automation drift

report: install ## Run the revision BASE and this one, and compare: compiled/report
	python -m automation report --base "$${BASE:-origin/main}"

comment: ## Show REPORT on the pull request that it is of (GitHub)
	python -m automation comment --report "$${REPORT:-compiled/report/report.json}"

guard: ## Refuse a pull request to BASE that changes data.dvc and is not the one of ingest
	python -m automation guard --base "$${BASE:-origin/main}"

intact: install ## Refuse data that are not those that data.dvc names
	python -m automation intact
	git diff --exit-code data.dvc

remote: install ## Make DVC_REMOTE this clone's default remote; nothing where it is empty
	python -m automation remote

fetch: install ## Make data/ what DATA_SOURCE has, check it, and write data.dvc
	python -m automation fetch

propose-data: ## Open the pull request that changes data.dvc to FILE (GitHub)
	python -m automation propose "$${FILE:-data.dvc}" --branch ingest/data --title "New data" --body "$${RUN_URL:-}"

propose-lock: ## Open the pull request that changes dvc.lock to FILE (GitHub)
	python -m automation propose "$${FILE:-dvc.lock}" --branch retrain/lock \
		--title "Retrained: $${VERSION:-a new model}, $${VERDICT:-judged on the cluster}" --body "$${RUN_URL:-}"

answer-drift: ## Begin a retraining where DECISION asks for one (GitHub)
	python -m automation answer

upload: install ## Compile the pipelines and upload them to Kubeflow (KFP_HOST)
	python -m pipelines upload

submit: install ## Run PIPELINE on Kubeflow to its end (KFP_HOST, OVERRIDES)
	python -m automation submit

outputs: install ## Bring what RUN made from KFP_PIPELINE_ROOT to artifacts/; nothing where that is empty
	python -m automation outputs

push: install ## Send what the stages made to DVC's default remote, where there is one
	python -m automation push

publish-images: install ## Build both images, push them by digest, list, scan and sign them (IMAGES)
	sh images/publish.sh

image-reference: install ## The published images of this source by digest, their signature checked (IMAGES, SIGNER)
	sh images/reference.sh

kubeconfig: install ## Write the way into the cluster KUBE_CLUSTER, or of the secret KUBECONFIG_DATA
	python -m automation kubeconfig

promote: install ## Judge the model beside the champion of STAGE, apply its release there and follow the rollout
	python -m automation promote

doctor: install ## Say what the cluster of the kubeconfig has of all that is needed, and what is missing (ARGS=--context=NAME)
	python -m automation doctor $(ARGS)

kind: install ## Make a cluster on this machine, with Docker: Kubeflow Pipelines, KServe, an object store, Prometheus
	sh kind/up.sh

kind-down: ## Remove the cluster that `make kind` made
	sh kind/down.sh

wheel: install ## Write the wheel into compiled/
	python -m pip wheel --quiet --no-deps --wheel-dir compiled .

release: ## Draft the release TAG with what is in compiled/ (GitHub)
	python -m automation release compiled/*.yaml compiled/*.whl

examples: install ## Run the public data sets (EXAMPLE=tolokers for one) and print them beside the published figures
	python -m examples $(EXAMPLE)

clean: ## Remove what the stages made: artifacts, registry, compiled pipelines, compiled kernels
	rm -rf artifacts registry compiled
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/graphmill"
