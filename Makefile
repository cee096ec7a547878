# make demo  runs the main job on the bundled sample models, make demo-traffic  plays eight weeks of production
# with them;  make test  checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo demo-traffic test setup lint clean
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

demo-traffic: setup
	@$(BIN)/assay traffic import samples/traffic
	@$(BIN)/assay monitor --eval samples/eval/product.jsonl || [ $$? -eq 1 ]
	@echo
	@$(BIN)/assay traffic propose samples/eval/product.jsonl --origin cluster
	@echo
	@echo "Week 5 shipped the overfitted adapter by mistake, and in week 7 people began to ask about a recall."
	@echo "Look at both:  $(BIN)/assay, then M"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

test: lint
	@sh .ci/requirements $(PYTHON) tmux
	$(BIN)/pytest -n 3 --dist loadfile

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
