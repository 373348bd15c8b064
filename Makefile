# Every target sets up what it needs by itself: Python 3.11 or later and pip are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXAMPLES ?= 20000
# The benchmarks that need no data set of their own.
NAMES := from importlib.metadata import entry_points as e; \
  print(*sorted({x.name for x in e(group="surgecast.bench")} - {"m5", "freshretail", "peaks", "stockouts", "cold", "weekly"}))

.PHONY: demo test lint fuzz protos interface bench clean

demo: $(READY)  ## train on real orders and answer a planner's questions over gRPC
	$(BIN)/surgecast demo

test: lint  ## everything that must hold before a change goes in
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

lint: $(READY)  ## format, lint, strict types, direction of imports, the interface and its generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py
	$(BIN)/python protos/generate.py --check
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against protos/interface.binpb

fuzz: $(READY)  ## random and mutated requests to every method: make fuzz EXAMPLES=20000
	SURGECAST_FUZZ=$(EXAMPLES) $(BIN)/pytest tests/serving/access/test_fuzz.py

protos: $(READY)  ## generate the gRPC code again
	$(BIN)/python protos/generate.py

interface: $(READY)  ## at a release: take the interface as what later ones must not break
	$(BIN)/buf build protos --output protos/interface.binpb

bench: $(READY)  ## measure speed, and accuracy on the data sets given: make bench M5=DIR FRESHRETAIL=DIR
	@mkdir -p build
	@for name in $$($(BIN)/python -c '$(NAMES)'); do $(BIN)/surgecast bench $$name --json || exit; done
	$(if $(M5),$(BIN)/surgecast bench m5 --data $(M5) --cutoff 1913 --out build/m5.parquet --json)
	$(if $(M5),$(BIN)/surgecast bench peaks --data $(M5) --cutoff 1913 --json)
	$(if $(M5),$(BIN)/surgecast bench cold --data $(M5) --json)
	$(if $(FRESHRETAIL),$(BIN)/surgecast bench freshretail --data $(FRESHRETAIL) --cutoff 2024-06-18 --horizon 7 \
	  --out build/freshretail.parquet --json)
	$(if $(FRESHRETAIL),$(BIN)/surgecast bench stockouts --data $(FRESHRETAIL) --json)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("surgecast needs Python 3.11 or later, found " + sys.version.split()[0] + "; name another: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:  ## remove the environment, caches and build products; never a home
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
