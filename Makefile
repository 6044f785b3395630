# Everything a fresh clone needs: python3.11 (or another python3 >= 3.11, as PYTHON=...) and make.
PYTHON ?= python3.11
BIN := .venv/bin
OUT ?= demo
WORKERS ?= 2

# Compiled modules are kept, even where the surroundings forbid it: else each process compiles torch anew, for seconds.
export PYTHONDONTWRITEBYTECODE :=

SITE := build/site

.PHONY: demo docs test test-elsewhere learn2learn milvus check lint types contracts clean

demo: .venv/installed
	$(BIN)/fsl-explain demo --out $(OUT) --overwrite

# The site: notebooks executed, types and links resolved, spelling checked, and nothing that loads from elsewhere. Notebooks
# run two at a time, as sphinx-build reads two pages at a time; SITE_EXECUTION=cache runs only those that changed.
docs: .venv/installed
	$(BIN)/codespell
	rm -rf $(SITE)
	$(BIN)/sphinx-build -q -n -W --keep-going -j $(WORKERS) docs $(SITE)
	$(BIN)/python docs/site/check_site.py $(SITE)

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal

# As on a Python without fcntl, and with what networks compute on a device without float64; both are imitated.
test-elsewhere: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal --without-fcntl --without-float64

# The package's C files build on this Python with one option only, and its metadata forbids numpy 2: hence an
# environment of its own on top of the other one.
learn2learn: .venv-learn2learn/installed
	.venv-learn2learn/bin/python -m pytest -q -p no:cacheprovider tests/oracles/test_learn2learn.py

.venv-learn2learn/installed: .venv/installed requirements-learn2learn.lock
	$(PYTHON) -m venv --clear .venv-learn2learn
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$(.venv-learn2learn/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/project.pth"
	.venv-learn2learn/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements-learn2learn.lock
	.venv-learn2learn/bin/python -c "import learn2learn"
	touch $@

# The server milvus-lite brings faiss-cpu, which overwrites the faiss of this project: hence an environment of its own.
milvus: .venv/installed .venv-milvus/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) tests/retrieval/milvus

.venv-milvus/installed: .venv/installed requirements-milvus.lock
	$(PYTHON) -m venv --clear .venv-milvus
	$(BIN)/uv pip install --python .venv-milvus/bin/python --no-deps --require-hashes -r requirements-milvus.lock
	touch $@

check: lint types contracts

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python .ci/style.py

types: .venv/installed
	$(BIN)/mypy

contracts: .venv/installed
	$(BIN)/lint-imports

clean:
	rm -rf .venv .venv-learn2learn .venv-milvus build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(OUT) results

.venv/installed: pyproject.toml requirements.lock requirements-uv.lock
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@
