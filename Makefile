# `make` alone lists what there is. Needs Linux, Python 3.11 or later, git and make; root or not.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.ONESHELL:
.DELETE_ON_ERROR:
SHELL := /bin/sh
.SHELLFLAGS := -euc
MAKEFLAGS += --no-print-directory

PYTHON ?=
VENV ?= .venv
JOBS ?= 2
PYTEST_ARGS ?=
MINUTES ?= 30
SEED ?=
EVENTS ?= 100000
DAYS ?= 365

BIN := $(VENV)/bin
LEDGERVIEWS := $(BIN)/ledgerviews
BQ_EXPORT := $(BIN)/bq-export
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(LOCK_ARGS)

# What a user's shell is set to must change neither what is installed nor which database is touched.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_HASHES
unexport LEDGERVIEWS_DATABASE_URL LEDGERVIEWS_SCHEMA LEDGERVIEWS_MODELS LEDGERVIEWS_MIGRATIONS
unexport LEDGERVIEWS_LOCK_TIMEOUT LEDGERVIEWS_STATEMENT_TIMEOUT LEDGERVIEWS_POPULATE DATABASE_URL
unexport LEDGERVIEWS_SWAP_TIMEOUT LEDGERVIEWS_KEEP_REPLACED
unexport GCP_PROJECT GCP_SA_JSON BQ_DATASET DBT_BIGQUERY_DATASET BQ_LOCATION BIGQUERY_EMULATOR_HOST
unexport BQ_MONTHLY_BUDGET_USD BQ_PRICE_PER_TIB_USD BQ_MAXIMUM_BYTES_BILLED BQ_RETRY_BUDGET BQ_JOB_TIMEOUT
unexport BQ_REQUEST_TIMEOUT GOOGLE_APPLICATION_CREDENTIALS
unexport PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# pip's cache lies in HOME; where there is none that can be written, pip must not make one.
PIP_CACHE := $(shell [ -d "$${HOME:-}" ] && [ -w "$$HOME" ] || echo --no-cache-dir)

# An environment that was moved, or whose Python is gone, is made anew.
ifneq ($(wildcard $(VENV)/.packages),)
$(shell { [ "$$(cat $(VENV)/.packages)" = "$$(pwd -P)" ] && $(BIN)/python -c ''; } 2>/dev/null \
	|| rm -f $(VENV)/.packages)
endif

.PHONY: help
help: ## List the targets.
	@echo "make demo         a real PostgreSQL with a year of rows, the marts in it, and the figures printed"
	echo "make clean-demo   remove the demo's server and all its data"
	echo "make test         environment, lint, types, import contracts, SQL, and the whole suite"
	echo "make lint         all of that but the suite"
	echo "make fuzz         the refresh engine under random writers and kills, for MINUTES=30, from SEED=…"
	echo "make worlds       random schemas, changed by revisions and changed back, for MINUTES=30, from SEED=…"
	echo "make pgspot       the engine's SQL through pgspot, in an environment of its own"
	echo "make format       bring the Python files into shape"
	echo "make peer         the local BigQuery of the tests, where a Python 3.13 is found"
	echo "make build        the wheel and the source distribution, in dist/"
	echo "make lock         pin the packages anew (LOCK_ARGS=--upgrade for newer ones)"
	echo "make clean        remove the environment and what the tools left"
	echo
	echo "PYTHON=python3.13 picks the interpreter, VENV=… the folder of the environment,"
	echo "PYTEST_ARGS='-k refresh' a part of the suite."

# --- environment ------------------------------------------------------------------------------------

# A candidate counts when it runs: pyenv leaves commands behind that only fail.
$(VENV)/.packages: requirements.txt
	@found= lacking=
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
		if "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then found=$$python; break; fi
		lacking=$${lacking:-$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')}
	done
	if [ -z "$$found" ]; then
		if [ -n "$$lacking" ]; then
			echo "make: this Python cannot make environments; install the package $$lacking (Debian, Ubuntu)." >&2
		else
			echo "make: no working Python 3.11 or later among: $(or $(PYTHON),python3 python3.14 … python3.11)." >&2
		fi
		exit 1
	fi
	echo "== environment: $$("$$found" --version) in $(VENV), packages of requirements.txt (about a minute)"
	"$$found" -m venv --clear "$(VENV)"
	# The set is complete (`pip check` looks), and a resolver that meets an extra would ask for newer releases.
	$(BIN)/python -m pip install -qq $(PIP_CACHE) --no-deps --require-hashes -r requirements.txt
	pwd -P > $@

$(VENV)/.installed: $(VENV)/.packages pyproject.toml
	@$(BIN)/python -m pip install -qq $(PIP_CACHE) --no-deps --no-build-isolation -e .
	touch $@

.PHONY: environment
environment: $(VENV)/.installed ## The virtual environment, with the pinned packages and this one, editable.

# --- checks -----------------------------------------------------------------------------------------

.PHONY: peer
peer: $(VENV)/.installed ## The local BigQuery that the export is tested against, where a Python 3.13 is found.
	@echo "== local BigQuery"
	$(BQ_EXPORT) dev install --if-able

.PHONY: test
test: lint peer ## Everything that CI checks.
	@echo "== tests"
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

# sqlfluff: queries hold placeholders; the engine is frozen SQL in its own layout, so there it checks that
# the SQL parses, and the capitals.
.PHONY: lint
lint: $(VENV)/.installed ## Whatever needs no server.
	@echo "== packages";         $(BIN)/python -m pip check
	echo "== style";             $(BIN)/ruff check --quiet .; $(BIN)/ruff format --quiet --check .
	echo "== types";             $(BIN)/mypy
	echo "== import contracts";  $(BIN)/lint-imports --no-logo
	echo "== SQL"
	$(BIN)/sqlfluff lint ledgerviews/models
	$(BIN)/sqlfluff lint --templater placeholder --exclude-rules ambiguous,references,structure \
		ledgerviews/queries bq_export/queries
	$(BIN)/sqlfluff lint --exclude-rules ambiguous,capitalisation.literals,layout,references,structure \
		ledgerviews/schema/engine

# Ends at the first difference, with the seed that brings it about again.
.PHONY: fuzz
fuzz: $(VENV)/.installed ## The long fuzz and 100 kills, on every server.
	@$(BIN)/python -W error -m tests.fuzz --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

.PHONY: worlds
worlds: $(VENV)/.installed ## Random schemas, changed and changed back, on every server.
	@$(BIN)/python -W error -m tests.worlds --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# In an environment of its own: it stands on pglast, which is GPL.
.PHONY: pgspot
pgspot: $(VENV)/.installed ## The engine's SQL through pgspot.
	@[ -x .pgspot/bin/pgspot ] || { $(BIN)/python -m venv .pgspot && .pgspot/bin/pip install --quiet 'pgspot>=0.9.4,<1'; }
	.pgspot/bin/python tests/pgspot.py

.PHONY: format
format: $(VENV)/.installed
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# --- demo -------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.installed ## A server of its own in .ledgerviews/; a second run attaches to it.
	@echo "== PostgreSQL"
	# Its advice for the next step is the demo itself, so it is shown only where the start fails.
	told=$$($(LEDGERVIEWS) dev start 2>&1) || { echo "$$told" >&2; exit 1; }
	$(LEDGERVIEWS) dev status
	LEDGERVIEWS_DATABASE_URL=$$($(LEDGERVIEWS) dev url); export LEDGERVIEWS_DATABASE_URL
	query() { $(LEDGERVIEWS) dev psql -- -X "$$@"; }
	echo "== application tables"
	rows=$$(query -Atc "SELECT to_regclass('public.suggestion_events') IS NOT NULL")
	[ "$$rows" = f ] || rows=$$(query -Atc "SELECT EXISTS (SELECT FROM public.suggestion_events)")
	if [ "$$rows" = t ]; then
		echo "The tables have rows already; they stay as they are."
	else
		$(LEDGERVIEWS) dev seed --events $(EVENTS) --days $(DAYS)
	fi
	echo "== alembic upgrade head";      $(BIN)/alembic upgrade head
	echo "== ledgerviews refresh";       $(LEDGERVIEWS) refresh
	echo "== the last ten days of public.mart_suggestions_kpis"
	query -P pager=off -P null=∅ -P footer=off -c "
		SELECT * FROM (
			SELECT created_date AS day, events_total AS events, events_model AS model,
				events_heuristic AS heuristic, events_auto AS auto,
				round(avg_candidate_count_overall::numeric, 2) AS candidates,
				round(accept_rate_overall::numeric, 3) AS accept_rate
			FROM public.mart_suggestions_kpis ORDER BY created_date DESC LIMIT 10
		) AS latest ORDER BY day"
	echo "== bq-export files"
	$(BQ_EXPORT) files --to .ledgerviews/export 2>/dev/null
	if $(BQ_EXPORT) dev install --if-able && $(BQ_EXPORT) dev start > .ledgerviews/bigquery.env; then
		. ./.ledgerviews/bigquery.env
		echo "== bq-export setup, run and verify, on a local BigQuery"
		$(BQ_EXPORT) setup > /dev/null
		$(BQ_EXPORT) run 2>/dev/null
		$(BQ_EXPORT) verify 2>/dev/null
		echo "To go on with it: . ./.ledgerviews/bigquery.env; to stop it: $(BQ_EXPORT) dev stop"
	fi
	echo "Next:"
	echo "  # look around"
	echo "  $(LEDGERVIEWS) dev psql"
	echo "  # add a day's rows and refresh again"
	echo "  export LEDGERVIEWS_DATABASE_URL=\"\$$($(LEDGERVIEWS) dev url)\""
	echo "  $(LEDGERVIEWS) dev seed --events 1000 --days 1 && $(LEDGERVIEWS) refresh"
	echo "  # stop the server; make clean-demo removes it with its rows"
	echo "  $(LEDGERVIEWS) dev stop"

.PHONY: clean-demo
clean-demo: ## Removes the demo's server folder; installs nothing to find that there is none.
	@[ -x $(LEDGERVIEWS) ] || { echo "There is no environment, so there is no demo."; exit 0; }
	$(BQ_EXPORT) dev stop 2>/dev/null
	$(LEDGERVIEWS) dev remove

# --- packages ---------------------------------------------------------------------------------------

.PHONY: build
build: $(VENV)/.installed ## Wheel and source distribution.
	@$(BIN)/python -m build --no-isolation

# The image's set is the part of the pinned one that runs, and the backend that builds the package.
.PHONY: lock
lock: $(VENV)/.installed ## Needs the package index.
	@$(COMPILE) pyproject.toml --extra dev -o requirements.txt
	echo 'hatchling' | $(COMPILE) pyproject.toml - -c requirements.txt -o requirements-image.txt
	grep -c == requirements.txt requirements-image.txt

.PHONY: clean
clean:
	@rm -rf "$(VENV)" build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
