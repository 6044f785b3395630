# Everything a fresh clone needs: python3.11 (or another python3 >= 3.11, as PYTHON=...) and make.
PYTHON ?= python3.11
BIN := .venv/bin
OUT ?= demo
WORKERS ?= 2
COMPLETENESS := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)" $(BIN)/basedpyright --ignoreexternal --verifytypes

# Compiled modules are kept, even where the surroundings forbid it: else each process compiles torch anew, for seconds.
export PYTHONDONTWRITEBYTECODE :=

SITE := build/site

.PHONY: demo docs test test-elsewhere learn2learn milvus interop wheel extras check lint types contracts clean

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

# The pages that show this library beside other tools, each with the real one, in an environment of its own on top of the
# other one: their metadata ask for other versions of numpy and pyarrow. A test that is skipped there fails.
interop: .venv-interop/installed
	OMP_NUM_THREADS=1 .venv-interop/bin/python -m pytest -q -p no:cacheprovider tests/interop --none-skipped

.venv-interop/installed: .venv/installed requirements-interop.lock
	$(PYTHON) -m venv --clear .venv-interop
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$(.venv-interop/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/project.pth"
	$(BIN)/uv pip install --python .venv-interop/bin/python --no-deps --require-hashes -r requirements-interop.lock
	touch $@

# Both archives in dist/, and what the wheel does in fresh environments of its own outside the checkout.
wheel: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -p no:cacheprovider .ci/wheel/test_archives.py .ci/wheel/test_installed_wheel.py

# The same with one extra after the other.
extras: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -p no:cacheprovider .ci/wheel/test_each_extra.py

check: lint types contracts

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python .ci/style.py

# Strict types inside, and a public face that leaves nothing for a type checker to guess.
types: .venv/installed
	$(BIN)/mypy
	for package in episodes fsl_explain retrieval_explain; do \
		$(COMPLETENESS) $$package > /dev/null || \
		{ $(COMPLETENESS) $$package; exit 1; }; \
	done

contracts: .venv/installed
	$(BIN)/lint-imports

clean:
	rm -rf .venv .venv-learn2learn .venv-milvus .venv-interop build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(OUT) results

.venv/installed: pyproject.toml requirements.lock requirements-uv.lock
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@
