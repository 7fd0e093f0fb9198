# Everything a newcomer needs: `make demo`, `make test`. Each target sets itself up.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Your own index of PyTorch wheels, such as one with CPU builds only: make test TORCH_INDEX=https://…
TORCH_INDEX ?=
WORKERS ?= 2
BENCH ?=
# What builds images, with flags of its own if it needs any, and flags of its `build`
ENGINE ?= $(firstword $(foreach name,docker podman buildah,$(if $(shell command -v $(name) 2>/dev/null),$(name))))
BUILD ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.PHONY: help setup servers demo demo-stop test check format docs bench soak image image-test clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.done  ## Make the environment in .venv

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "holdfast needs Python 3.11 or newer: make PYTHON=python3.12 …"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch==2.13.0 -c constraints.txt --editable '.[retrain,dev]'
	@touch $@

servers:  ## Install the servers that tests talk to (Debian, as root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager postgresql chromium sqlite3 jq curl gcc libc6-dev >/dev/null

.PHONY: servers-if-root
servers-if-root:
	@if [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then \
	  for tool in prometheus promtool prometheus-alertmanager chromium sqlite3 jq curl cc; do command -v $$tool >/dev/null || missing=1; done; \
	  ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing=1; \
	  if [ -n "$$missing" ]; then $(MAKE) --no-print-directory servers; fi; \
	fi

demo: setup  ## Show the whole loop on this machine, within minutes
	$(BIN)/holdfast demo

demo-stop: setup  ## Stop the servers that the demo left up
	$(BIN)/holdfast demo --stop

test: setup servers-if-root  ## Run all tests
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: setup  ## Lint, types, floors, generated files
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m monitor.documents --check
	$(BIN)/python -m dashboards --check

format: setup  ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .

docs: setup  ## Write the generated documents anew
	$(BIN)/python -m monitor.documents
	$(BIN)/python -m dashboards

bench: setup  ## Measure (BENCH=--quick for a short run)
	for file in $$(grep -l '^if __name__ == "__main__"' tests/benchmarks/[a-z]*.py); do \
	  $(BIN)/python -m tests.benchmarks.$$(basename $$file .py) $(BENCH) || exit 1; done

soak: setup  ## Kill the loop at random moments, and a retrain at every step, and compare (minutes)
	$(BIN)/python -m tests.story.soak
	$(BIN)/python -m tests.story.kills
	$(BIN)/python -m tests.story.kills --kind sklearn --free

image:  ## Build the images holdfast and holdfast-trainer (ENGINE: docker, podman or buildah)
	@test -n "$(ENGINE)" || { echo "nothing builds images here; right would be docker, podman or buildah on PATH" >&2; exit 1; }
	for target in daemon trainer; do \
	  $(ENGINE) build $(BUILD) $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) --target $$target \
	    --label org.opencontainers.image.revision=$$(git rev-parse HEAD) \
	    --tag $$(test $$target = daemon && echo holdfast || echo holdfast-$$target):$(VERSION) . || exit 1; done

image-test: setup image  ## Hold the images against what strangers expect, and run the chart's pods from them (Linux, as root)
	$(BIN)/python -m tests.story.image --engine "$(ENGINE)" holdfast:$(VERSION) holdfast-trainer:$(VERSION)

clean:  ## Remove what was made here
	rm -rf $(VENV) demo-run build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
