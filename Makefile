# relayd: `make demo` shows the relay at work, `make test` runs its tests, `make help` lists the rest.
# Nothing has to be prepared but Python 3.11 or later, git and make.

PYTHON ?= python3
VENV ?= .venv
UV ?= uv
CONFIG ?= config.yaml
FILE ?=
BASE ?=
KEY ?=
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
ARGS ?=

BIN = $(VENV)/bin
RUNTIME_STAMP = $(VENV)/.set-up-runtime
DEV_STAMP = $(VENV)/.set-up-dev
TYPED = $(wildcard relayd tests benchmarks grafana)

.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.PHONY: help setup demo serve test test-slow check lint types floors coverage fidelity bench seeds wire outage cost metrics alerts tracing sustain uploads rollup kill-test dashboards clients programs client-docs lock clean

help: ## this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(RUNTIME_STAMP) ## .venv with relayd in it

demo: $(RUNTIME_STAMP) ## the relay with a fake provider behind it: a URL, a key, four curls to try
	@$(BIN)/relayd demo $(ARGS)

serve: $(RUNTIME_STAMP) ## the relay with your providers (CONFIG=config.yaml)
	@$(BIN)/relayd serve --config $(CONFIG) $(ARGS)

# Bytecode is written even where the environment forbids it: pytest keeps its rewritten assertions there. Files go in the order of
# their names, so that the many small ones of tests/wire come last and no worker waits for the other. A test of a relay waits as long
# as it computes: one worker more than there are processors keeps those busy.
test: $(DEV_STAMP) ## the tests, about three minutes on two cores (ARGS="-k stream" picks some)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --maxprocesses 5 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(DEV_STAMP) ## the slow ones (none at all is no failure)
	@$(BIN)/python -m benchmarks.clients fetch || echo "no Node SDKs: their tests are skipped"
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m slow $(ARGS) || [ $$? -eq 5 ]

check: lint types floors ## lint, format, types, the floors of the house

lint: $(DEV_STAMP)
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check --diff . && echo "lint: clean"

types: $(DEV_STAMP)
	@$(BIN)/mypy --no-error-summary $(TYPED) && echo "types: clean"

floors: $(DEV_STAMP)
	@$(BIN)/lint-imports --no-cache > .import_linter.out || { cat .import_linter.out; exit 1; }
	@rm -f .import_linter.out && echo "floors: clean"
	@$(BIN)/python -m pytest -q tests/test_house.py

coverage: $(DEV_STAMP) ## lines and branches that the tests reach; wire and policy want 100 %
	@$(BIN)/coverage run -m pytest -m "not slow" $(ARGS) && $(BIN)/coverage report

fidelity: $(DEV_STAMP) ## recorded traffic, passed and translated (FILE=traffic.jsonl.gz, ARGS=--all)
	@$(BIN)/python -m benchmarks.fidelity $(FILE) $(ARGS)

seeds: $(DEV_STAMP) ## every request of the seed pages; of another relay with BASE=URL KEY=KEY
	@SEEDS_KEY="$(KEY)" $(BIN)/python -m benchmarks.seeds --base "$(BASE)" $(ARGS)

bench: $(DEV_STAMP) ## the benchmark beside nginx (benchmarks/README.md)
	@$(BIN)/python -m benchmarks $(ARGS)

wire: $(DEV_STAMP) ## what translation costs a stream, in microseconds (ARGS=--quick)
	@$(BIN)/python -m benchmarks.wire $(ARGS)

outage: $(DEV_STAMP) ## an hour of failing providers, simulated (ARGS="--seed 3 --minutes 10", --choose)
	@$(BIN)/python -m benchmarks.outage $(ARGS)

cost: $(DEV_STAMP) ## what the ledger costs a request, in microseconds (ARGS=--quick)
	@$(BIN)/python -m benchmarks.cost $(ARGS)

metrics: $(DEV_STAMP) ## what the metrics cost a request, and a scrape; the overhead metric beside an outsider's
	@$(BIN)/python -m benchmarks.metrics
	@$(BIN)/python -m benchmarks.overhead

tracing: $(DEV_STAMP) ## what traces cost a small reply, by the share that is recorded (ARGS="--rounds 15")
	@$(BIN)/python -m benchmarks.tracing $(ARGS)

alerts: $(DEV_STAMP) ## how soon a webhook hears of an upstream that is killed (ARGS="--rounds 3")
	@$(BIN)/python -m benchmarks.alerts $(ARGS)

sustain: $(DEV_STAMP) ## 1,000 paid requests/s for 5 minutes (ARGS="--seconds 30 --rate 500")
	@$(BIN)/python -m benchmarks.sustain $(ARGS)

uploads: $(DEV_STAMP) ## what a form of 50 MB, and 50 MB of sound, take up (ARGS="--size 200")
	@$(BIN)/python -m benchmarks.uploads $(ARGS)

rollup: $(DEV_STAMP) ## how long reports over a year of 50 million requests take
	@$(BIN)/python -m benchmarks.rollup $(ARGS)

kill-test: $(DEV_STAMP) ## kill relayd under load, again and again, and check its books (ARGS="--rounds 5")
	@$(BIN)/python -m benchmarks.kill $(ARGS)

dashboards: $(DEV_STAMP) ## every query of the dashboards on a real Prometheus, the rules by promtool
	@.ci/prometheus || echo "no Prometheus: its tests are skipped"
	@$(BIN)/python -m pytest tests/grafana $(ARGS)

clients: $(DEV_STAMP) ## the SDKs of Python and Node against every format, as a table (ARGS=--no-node)
	@$(BIN)/python -m benchmarks.clients matrix $(ARGS)

programs: $(DEV_STAMP) ## Claude Code, Codex and others, installed and run (ARGS="codex llm" picks some)
	@$(BIN)/python -m benchmarks.clients programs $(ARGS)

client-docs: $(DEV_STAMP) ## renew docs/clients.md
	@$(BIN)/relayd clients docs > docs/clients.md

lock: ## renew the pinned requirements (needs uv)
	@.ci/lock $(UV)

clean: ## remove the virtual environment and everything that was generated
	@rm -rf $(VENV) build dist relayd.egg-info .coverage .coverage.* htmlcov .prometheus .clients
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up runs once, and again when the lock or the project file has changed. The tests' environment
# holds all of the runtime's, at the same versions, so making it settles both.
$(RUNTIME_STAMP): .ci/requirements.txt .ci/setup pyproject.toml
	@.ci/setup $(PYTHON) $(VENV) .ci/requirements.txt
	@touch $@

$(DEV_STAMP): .ci/requirements-dev.txt .ci/setup pyproject.toml
	@.ci/setup $(PYTHON) $(VENV) .ci/requirements-dev.txt
	@touch $(RUNTIME_STAMP) $@
