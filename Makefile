# make demo  runs the main job on the bundled sample models;  make test  checks everything;  make docs  builds the site.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup lint docs clean
.DEFAULT_GOAL := test

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@sh .ci/requirements $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	@$(BIN)/assay run samples/plans/quickstart.toml || [ $$? -eq 1 ]
	@echo
	@echo "Two of the three candidates are broken on purpose: exit code 1 says that a gate failed."
	@echo "Look at the run:  $(BIN)/assay"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test: lint
	@sh .ci/requirements $(PYTHON) tmux
	$(BIN)/pytest -n 3 --dist loadfile

docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the site is in build/site; $(BIN)/mkdocs serve shows it while you write"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
