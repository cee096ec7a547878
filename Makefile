# make demo  runs the main job on the bundled sample models;  make test  checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_STORE ?= .assay

.PHONY: demo test setup lint clean
.DEFAULT_GOAL := test

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@sh .ci/requirements $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	@$(BIN)/python -m samples.demo --store $(DEMO_STORE)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test: lint
	@sh .ci/requirements $(PYTHON) tmux
	$(BIN)/pytest -n 2 --dist loadfile

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
