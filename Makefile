# Two commands do everything on a machine with Python 3.11+ and make: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
LOCKED = --require-hashes --disable-pip-version-check --quiet
LOCAL = --no-deps --no-build-isolation --disable-pip-version-check --quiet

.PHONY: run test check format reference test-exhaustive bench lock clean

run: $(VENV)/run.done config/var/sample/deals.csv ## start the daemon on config/kpid.yml
	$(BIN)/kpid run --config config/kpid.yml

test: $(VENV)/test.done ## the whole test suite
	$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

check: $(VENV)/test.done ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_architecture.py tests/test_docs.py

test-exhaustive: $(VENV)/test.done ## every sequence of outcomes, 500 random walks of each source, more kills, every KPI on every engine; hours
	$(BIN)/python tests/alerting/exhaustive.py
	KPID_NURSERY=off KPID_WALKS=500 KPID_KILL_ROUNDS=10 KPID_KILLS=102 $(BIN)/python -m pytest -n 2 tests/ingest/test_random_walk.py tests/runtime/test_faults.py tests/journey/test_crash.py tests/delivery/test_kill_points.py
	KPID_NURSERY=off KPID_KPIS=all KPID_ENGINES=all $(BIN)/python -m pytest -n 2 --dist loadfile tests/kpis tests/metrics tests/plugins tests/journey tests/runtime tests/cli tests/security tests/testing tests/warehouse/test_engines.py tests/alerting/test_story.py

bench: $(VENV)/test.done ## prints the measured figures
	$(BIN)/python tests/bench/bench_plan.py
	$(BIN)/python tests/bench/bench_sync.py
	$(BIN)/python -m tests.bench.bench_connectors
	$(BIN)/python -m tests.bench.bench_delivery
	$(BIN)/python -m tests.bench.bench_alerting
	$(BIN)/python -m tests.bench.bench_backtest
	$(BIN)/python -m tests.bench.bench_false_alarms
	$(BIN)/python -m tests.bench.bench_alerting_peers
	$(BIN)/python tests/bench/bench_process.py
	$(BIN)/python tests/bench/bench_scale.py
	$(BIN)/python tests/bench/bench_metricflow.py

format: $(VENV)/test.done ## rewrite the code in the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reference: $(VENV)/test.done ## write plugins/kpis/README.md and plugins/connectors/README.md anew from the definitions
	$(BIN)/kpid kpis --markdown > plugins/kpis/README.md.new
	mv plugins/kpis/README.md.new plugins/kpis/README.md
	$(BIN)/kpid sources --markdown > plugins/connectors/README.md.new
	mv plugins/connectors/README.md.new plugins/connectors/README.md

LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
lock: ## write the lock files anew (needs uv)
	$(LOCK) --extra build -o requirements.lock
	$(LOCK) --all-extras -c requirements.lock -o tests/requirements.lock

config/var/sample/deals.csv:
	$(BIN)/kpid sample --out config/var/sample

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.done: $(VENV)/bin/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install $(LOCKED) -r requirements.lock
	$(BIN)/python -m pip install $(LOCAL) -e .
	touch $@

$(VENV)/test.done: $(VENV)/run.done tests/requirements.lock
	$(BIN)/python -m pip install $(LOCKED) -r tests/requirements.lock
	touch $@

clean:
	rm -rf $(VENV) build dist config/var
