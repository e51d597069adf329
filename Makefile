# Two commands for a newcomer: `make demo` and `make test`. Both set everything up first; neither needs root.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test check scenarios chaos bench install clean constraints

demo: $(STAMP)
	$(BIN)/mend demo

# The tests wait more than they compute: four processes keep two cores busy, and more only make each other wait.
test: $(STAMP)
	$(BIN)/python -m pytest -n 4 --dist loadscope

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

scenarios: $(STAMP)
	$(BIN)/python -m tests.scenarios

# Half an hour in which everything is killed again and again, and docs/reliability.md. ARGUMENTS="--minutes 2 --alerts 500" for less.
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --page $(ARGUMENTS)

bench: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints-bench.txt
	$(BIN)/python -m tests.bench

install: $(STAMP)

# Compiled as an installed package is: with PYTHONDONTWRITEBYTECODE every command would compile it anew.
$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Mendstream needs Python 3.11 or later: set PYTHON=python3.11")'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q adapters bus ops schemas sql stages tests
	touch $(STAMP)

# Pins every package, with its hashes, for `make install` and for the benchmark's peers.
constraints: $(STAMP)
	$(PYTHON) -m venv .venv/compile
	.venv/compile/bin/pip install --quiet --disable-pip-version-check pip-tools
	.venv/compile/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --extra dev --no-emit-index-url --no-emit-find-links \
		--no-header --output-file constraints.txt pyproject.toml
	.venv/compile/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --extra bench --no-emit-index-url --no-emit-find-links \
		--no-header --constraint constraints.txt --output-file constraints-bench.txt pyproject.toml

clean:
	rm -rf .venv build dist *.egg-info
