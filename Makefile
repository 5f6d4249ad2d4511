# The one entry point for people and for CI. `make help` lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# A worker waits for its servers half of the time: one more than there are cores.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PARALLEL := -n $(shell expr $(CORES) + 1) --dist loadgroup

.PHONY: help install demo up kafka kafka-stop test test-whole test-slow test-kafka test-snowflake test-faults test-kills test-outages faults backlog bench-batch bench-consumer check lock clean

help:  ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Create .venv and install the locked versions

$(INSTALLED): installer.lock requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %s" % sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r installer.lock
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes installer.lock requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q caves_dagster
	@touch $@

demo: $(INSTALLED)  ## 20,000 events from Kafka to production on a platform of its own, then the figures
	$(BIN)/caves demo

up: $(INSTALLED)  ## Platform, live producer and the Dagster UI on port 3000, until Ctrl-C
	$(BIN)/caves up

kafka: $(INSTALLED)  ## A real Apache Kafka on this machine, without Docker (Java 17 and Maven)
	@$(BIN)/caves kafka start

kafka-stop: $(INSTALLED)  ## Stop it; its data is kept
	@$(BIN)/caves kafka stop

test: $(INSTALLED)  ## The tests that need no Java, on an embedded platform of their own
	$(BIN)/python -m pytest $(PARALLEL)

test-whole: $(INSTALLED)  ## The tests that use commands, servers and runs as processes of their own, or all checks
	$(BIN)/python -m pytest $(PARALLEL) -m 'whole and not slow and not real_kafka'

test-slow: $(INSTALLED)  ## The slow ones: the real daemon, 100,000 more fuzzed payloads
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile -m 'slow and not timed and not real_kafka'
	$(BIN)/python -m pytest -m 'timed and not real_kafka'

test-kafka: $(INSTALLED)  ## The other half of them, on a real Apache Kafka (Java 17 and Maven)
	$(BIN)/python -m pytest -n $(CORES) --dist loadgroup -m 'real_kafka and not faults' -rs

test-snowflake: $(INSTALLED)  ## Those that say what Snowflake does, on the account of SNOWFLAKE_ACCOUNT, …; without one it says so
	$(BIN)/python -m pytest -m 'snowflake and not real_kafka' --snowflake -rs

test-faults: $(INSTALLED)  ## The short form of the fault suite: 30 kills and two outages, some ten minutes (Java 17 and Maven)
	@$(MAKE) --no-print-directory --jobs 2 test-kills test-outages

# Beside each other, as an outage is two minutes of waiting. What they say of each kill passes --capture=sys.
test-kills: $(INSTALLED)
	$(BIN)/python -m pytest -m faults -rs --capture=sys caves_dagster_tests/faults/test_faults.py
test-outages: $(INSTALLED)
	$(BIN)/python -m pytest -m faults -rs --capture=sys caves_dagster_tests/faults/test_away.py

KILLS ?= 200
faults: $(INSTALLED)  ## The long form: KILLS=200 kills, 40 minutes and more; SEED=n repeats one
	$(BIN)/python -m caves_dagster_tests.faults --kills $(KILLS) $(if $(SEED),--seed $(SEED))

backlog: $(INSTALLED)  ## Memory and speed of runs that drain 500,000 and 5,000,000 events of a real Kafka, some ten minutes
	$(BIN)/python -m caves_dagster_tests.backlog

bench-batch: $(INSTALLED)  ## A million sales written, loaded, and loaded again by day: seconds and memory
	$(BIN)/python -m caves_dagster_tests.batch.measure

bench-consumer: $(INSTALLED)  ## Latency of the consumer at 100 events/s, and its memory over a million (Java 17 and Maven)
	$(BIN)/python -m caves_dagster_tests.consumer.measure
	$(BIN)/python -m caves_dagster_tests.consumer.measure --events 1000000

check: $(INSTALLED)  ## Lint, format, types
	$(BIN)/hadolint Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(INSTALLED)  ## Rewrite the lock files from pyproject.toml
	echo "uv==0.13.9" | $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate - -o installer.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras --constraints requirements.lock pyproject.toml -o production.lock

clean:  ## Remove .venv (state under .caves stays: `caves local reset` removes that)
	rm -rf .venv
