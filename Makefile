# `make lab` opens JupyterLab on the quick start, `make test` runs every test. Each installs what it needs into .venv.
# `make bench` measures, for a quarter of an hour, and writes tests/bench/RESULTS.md; `make bench BENCH="imports growth"` some.
# `make servers` asks real servers through each dialect, llama.cpp, LiteLLM's proxy and g4f, and an MCP server, mcp-server-time; it installs them in
# environments of their own.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
LAB_ARGS ?=
BENCH ?=
TEST_ARGS ?= -n 4 --dist loadfile --no-loadscope-reorder

# Kernels and child processes start faster from compiled sources.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: lab test check bench servers clean

lab: $(VENV)/lab.stamp
	$(BIN)/nb-backend fetch || echo "The model will be fetched when it is first asked."
	$(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS) notebooks/quickstart.ipynb

test: $(VENV)/test.stamp
	$(BIN)/python tests/browser/chromium.py || true
	$(BIN)/python -m pytest $(TEST_ARGS)

check: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/test.stamp
	$(BIN)/python tests/browser/chromium.py || true
	$(BIN)/python tests/bench/all.py $(BENCH)

servers: $(VENV)/test.stamp
	$(BIN)/python tests/bench/all.py servers

$(VENV)/%.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/browser/node_modules tests/browser/.npm.lock
