# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
DOCS_VENV := .venv-docs
STACK := $(BIN)/python -m stack

.DEFAULT_GOAL := help
.PHONY: help demo test unit test-streams test-lake test-nightly faults bench bench-latency bench-state bench-partitions bench-source bench-viewers bench-warehouse bench-batch charts check style docs reference fmt lock up down status

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

# On a bare machine, the servers' programs are fetched while the Python packages are installed.
demo: MEANWHILE := $(PYTHON) -m stack.early
demo: $(VENV)/ready ## run the whole pipeline on real servers with realistic amounts of data, print the proof; options DATASET=shop SIZE=0.1 CUSTOMERS=10000 KEEP=1
	@$(STACK) demo $(if $(DATASET),--dataset $(DATASET)) $(if $(KEEP),--keep) $(if $(SIZE),--size $(SIZE)) $(if $(CUSTOMERS),--customers $(CUSTOMERS))

test: $(VENV)/ready ## run all checks and tests, stream and lake tests in parallel; they start their own servers
	@$(BIN)/python -m tests.lanes

unit: $(VENV)/ready ## run the tests that need no server
	@$(BIN)/python -m tests.lanes unit

test-streams: $(VENV)/ready ## run the tests of the stream jobs and their faults, on servers
	@$(BIN)/python -m tests.lanes orders streams

test-lake: $(VENV)/ready ## run the tests of the lake and its commands, on Spark and servers
	@$(BIN)/python -m tests.lanes lake commands

test-nightly: $(VENV)/ready ## run the rare and slow tests that `make test` leaves out
	@$(BIN)/python -m tests.lanes --nightly

faults: $(VENV)/ready ## break servers and workers under load, and run mutants; options ROW=1,4 DOSE=full SEED=7 SET=NAME=VALUE
	@$(BIN)/python -m tests.faults $(if $(ROW),--rows $(ROW)) $(if $(DOSE),--dose $(DOSE)) $(if $(SEED),--seed $(SEED)) $(if $(SET),--set $(SET))

bench: $(VENV)/ready $(BENCH_VENV)/ready ## measure the stream and other systems; options SYSTEM=millrace INPUT=small REPEAT=1
	@$(BIN)/python -m bench stream $(if $(SYSTEM),--system $(SYSTEM)) $(if $(INPUT),--input $(INPUT)) $(if $(REPEAT),--repeat $(REPEAT))

bench-latency: $(VENV)/ready ## measure from a commit to its visible order, per stage; options SYSTEM=millrace,millrace-shared,kafka-streams,flink RATES PARTITIONS SECONDS
	@$(BIN)/python -m bench latency $(if $(SYSTEM),--system $(SYSTEM)) $(if $(RATES),--rates $(RATES)) $(if $(PARTITIONS),--partitions $(PARTITIONS)) $(if $(SECONDS),--seconds $(SECONDS))

bench-state: $(VENV)/ready ## measure restoring from nothing, size on disk, standbys; option ORDERS=100000
	@$(BIN)/python -m bench state $(if $(ORDERS),--orders $(ORDERS))

bench-partitions: $(VENV)/ready ## measure memory and the event loop with many partitions; options CASES=96/4 CHANGES=start,kill STATES=60000
	@$(BIN)/python -m bench partitions $(if $(CASES),--cases $(CASES)) $(if $(CHANGES),--changes $(CHANGES)) $(if $(STATES),--states $(STATES))

bench-warehouse: $(VENV)/ready ## measure rows per second into the warehouse, three ways, and its delay; options CHANGES=200000 SECONDS=20
	@$(BIN)/python -m bench warehouse $(if $(CHANGES),--changes $(CHANGES)) $(if $(SECONDS),--seconds $(SECONDS))

bench-viewers: $(VENV)/ready ## measure what viewers of the page cost a worker, with and without them in one run; option VIEWERS=5
	@$(BIN)/python -m bench viewers $(if $(VIEWERS),--viewers $(VIEWERS))

bench-source: $(VENV)/ready ## measure the capture of changes from MariaDB and PostgreSQL; options RATE=200 SECONDS=30 QUIET=300
	@$(BIN)/python -m bench source $(if $(RATE),--rate $(RATE)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(QUIET),--quiet $(QUIET))

bench-batch: $(VENV)/ready $(BENCH_VENV)/ready ## measure the lake and plain pipelines; options SYSTEM=millrace CASE=first SIZE=0.1 REPEAT=3
	@$(BIN)/python -m bench batch $(if $(SYSTEM),--system $(SYSTEM)) $(if $(CASE),--case $(CASE)) $(if $(SIZE),--size $(SIZE)) $(if $(CUSTOMERS),--customers $(CUSTOMERS)) $(if $(REPEAT),--repeat $(REPEAT))

charts: $(VENV)/ready ## draw the charts of the documents from bench/results/*.json
	@$(BIN)/python -m bench.chart

check: style docs ## check style, types and documents

style: $(VENV)/ready ## check style and types
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary .

# Not --quiet: mkdocs then counts no warnings, and a dead link passes.
docs: $(DOCS_VENV)/ready ## build the website of the documents in .site/; a dead link is an error
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

reference: $(VENV)/ready ## write the generated pages of docs/reference/ again
	@$(BIN)/python -m tests.support.reference

fmt: $(VENV)/ready ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/ready ## write the lock files again from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv==0.13.9
	@$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --python-version 3.11 --quiet -o requirements.lock
	@$(BIN)/uv pip compile --group bench --generate-hashes --no-header --python-version 3.11 --quiet -o bench/requirements.lock
	@$(BIN)/uv pip compile --group docs --generate-hashes --no-header --python-version 3.11 --quiet -o docs/requirements.lock

up: $(VENV)/ready ## start the servers of the default stack
	@$(STACK) up

down: $(VENV)/ready ## stop the servers and keep their data
	@$(STACK) down

status: $(VENV)/ready ## show the servers
	@$(STACK) status

# Rebuilt when the lock file changes. The project itself is installed as a link to this folder, with its program. The
# interpreter is checked first, because an old one fails with a message that does not help.
$(VENV)/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: install it, or name it with make PYTHON=..." >&2; exit 1; }
	@echo "installing the locked Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "python3-venv is needed (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@$(MEANWHILE) $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The systems that the benchmark compares with; they need other versions of the product's packages.
$(BENCH_VENV)/ready: bench/requirements.lock
	@echo "installing the benchmark's Python packages into $(BENCH_VENV)"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.lock
	@touch $@

# The program that makes the website, apart from the product's packages.
$(DOCS_VENV)/ready: docs/requirements.lock
	@echo "installing the documents' Python packages into $(DOCS_VENV)"
	@$(PYTHON) -m venv $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.lock
	@touch $@
