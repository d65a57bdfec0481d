# On a bare machine with Python 3.11 and make: `make demo` and `make test` do everything.
.PHONY: setup demo test slow check docs faults soak format lock wheel

PYTHON := $(or $(shell command -v python3.11),$(shell command -v python3))
BIN := .venv/bin
INSTALLED := .venv/.installed

setup: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "raynas needs Python 3.11 or later; no python3.11 was found and python3 is missing or older." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || \
		{ echo "Python's venv module does not work here; on Debian, install python3.11-venv." >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

demo: setup
	$(BIN)/raynas demo --out runs/demo

test: setup # in two processes: each test computes with one thread
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist worksteal --durations 20

slow: setup # two at a time: half of what they do is to wait for processes
	$(BIN)/pytest -m slow --numprocesses 2 --dist worksteal --durations 30

check: setup docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup # the site, in site/index.html; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

faults: setup # kill runs of all methods at random moments: `make faults KILLS=8 SEED=1` adds eight kills to the log
	$(BIN)/python -m tests.faults.campaign --kills $(or $(KILLS),100) --seed $(or $(SEED),0)

soak: setup # searches back to back for half an hour, which must leave nothing behind
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),30)

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: setup
	$(BIN)/python -m build --no-isolation --wheel

lock: # `make lock` keeps every pin that still fits, `make lock UPGRADE=--upgrade` takes the newest
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-annotate --no-emit-index-url \
		$(UPGRADE) --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml
