# `make demo` and `make test` need nothing but Python 3.11 to 3.13 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

CLIENTS := .venv-clients
ARCTIC  := .venv-arctic
NAUTILUS := .venv-nautilus
OTHERS  := ib_async ibapi nautilus-ibapi prefect
NEEDED_BY_nautilus-ibapi := protobuf
# newer ones of Prefect want packages of their own day; a newer FastAPI breaks this one's server
NEEDED_BY_prefect := prefect==3.7.7 fastapi==0.139.2

.PHONY: help demo test clients test-clients soak bench lab check format clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

BUNDLED := workbench/display/live/build.py $(wildcard workbench/display/live/src/*)

$(READY): requirements.txt pyproject.toml $(BUNDLED)
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "workbench needs Python 3.11, 3.12 or 3.13; this is %s.%s: call make PYTHON=python3.12 …" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(READY)  ## Run the main job once, on the built-in gateway
	$(BIN)/workbench demo

test: $(READY)  ## Run every test, several at a time
	$(BIN)/python -m pytest --quiet --numprocesses auto --dist worksteal

clients: $(OTHERS:%=$(CLIENTS)/%/.ready)

test-clients: clients  ## Let four client libraries talk to the built-in gateway
	WORKBENCH_REQUIRE_CLIENTS=1 $(BIN)/python -m pytest --quiet --numprocesses auto tests/system/test_clients.py

# Each TWS client library in an environment of its own: they overwrite one another's packages; and Prefect.
$(CLIENTS)/%/.ready: | $(READY)
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $* $(NEEDED_BY_$*)
	touch $@

soak: $(READY)  ## Fuzz the gateway, kill writers and recorders, record whole days and weeks: an hour or two
	WORKBENCH_FUZZ_EXAMPLES=5000 $(BIN)/python -m pytest --timeout 900 tests/gateway/test_fuzz.py
	WORKBENCH_SCREEN_ALL=1 $(BIN)/python -m pytest --timeout 900 tests/screening/test_history.py
	WORKBENCH_KILLS=300 $(BIN)/python -m pytest tests/faults/test_store_kills.py
	WORKBENCH_KILLS=50 $(BIN)/python -m pytest tests/faults/test_backfill_kill.py
	WORKBENCH_KILLS=50 $(BIN)/python -m pytest --timeout 3600 tests/faults/test_live_kill.py
	WORKBENCH_SOAK=1 $(BIN)/python -m pytest -s --timeout 1800 tests/system/test_live_parity.py tests/system/test_live_soak.py tests/system/test_live_kernel.py tests/system/test_schedule_day.py tests/system/browser/test_board.py
	WORKBENCH_KILLS=50 $(BIN)/python -m pytest --timeout 900 tests/system/test_save_session_command.py
	WORKBENCH_EVERY_FUNCTION=1 $(BIN)/python -m pytest tests/indicators/test_history.py

bench: $(READY) $(ARCTIC)/.ready $(NAUTILUS)/.ready  ## Measure what we claim of speed, beside others, in one run
	$(BIN)/python -m tests.benchmarks.gateway
	$(BIN)/python -m tests.benchmarks.indicators
	$(BIN)/python -m tests.benchmarks.store --arctic $(ARCTIC)/bin/python
	$(BIN)/python -m tests.benchmarks.panel
	$(BIN)/python -m tests.benchmarks.screen
	$(BIN)/python -m tests.benchmarks.backfill
	$(BIN)/python -m tests.benchmarks.live_chart
	$(BIN)/python -m tests.benchmarks.board
	$(BIN)/python -m tests.benchmarks.pipeline
	$(BIN)/python -m tests.benchmarks.live --nautilus $(NAUTILUS)/bin/python

# ArcticDB wants an older pandas, so it has an environment of its own; where it cannot be had, the benchmark says so.
$(ARCTIC)/.ready: | $(READY)
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check 'arcticdb>=6.28,<7' && touch $@ || rm -rf $(@D)

# nautilus_trader pins other versions of what we use; where it cannot be had, the benchmark says so.
$(NAUTILUS)/.ready: | $(READY)
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check 'nautilus_trader==1.221.0' && touch $@ || rm -rf $(@D)

lab: $(READY)  ## Open JupyterLab on the notebooks
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00-start-here.ipynb

check: $(READY)  ## Check format, style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)  ## Put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove the virtual environment and all caches, but no data
	rm -rf $(VENV) $(CLIENTS) $(ARCTIC) $(NAUTILUS) .mypy_cache .ruff_cache .pytest_cache .hypothesis
