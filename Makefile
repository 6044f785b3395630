# Everything a fresh clone needs: python3.11 (or another python3 >= 3.11, as PYTHON=...) and make.
PYTHON ?= python3.11
BIN := .venv/bin
OUT ?= demo

.PHONY: demo test check lint types contracts clean

demo: .venv/installed
	$(BIN)/fsl-explain demo --out $(OUT)

test: .venv/installed
	$(BIN)/pytest -q

check: lint types contracts

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/installed
	$(BIN)/mypy

contracts: .venv/installed
	$(BIN)/lint-imports

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(OUT) results

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@
