# The two commands of a newcomer are `make run` and `make test`; both set up what they need.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
NATIVE := $(wildcard native/*.c native/*.h)

.PHONY: run test check dashboards metrics-doc benchmark vardiff campaign lock clean

run: $(READY)
	$(VENV)/bin/dmpool run

test: $(READY) check
	$(VENV)/bin/python -m compileall -q native stratum register payouts reporting pool
	$(VENV)/bin/python -m pytest -m "not alone" --numprocesses 3 --dist worksteal
	$(VENV)/bin/python -m pytest -m alone

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The JSON of configs/grafana/dashboards, from the builders beside it.
dashboards: $(READY)
	$(VENV)/bin/python -m configs.grafana

# The page on every metric, from the catalogue.
metrics-doc: $(READY)
	$(VENV)/bin/python -m pool.telemetry.document > docs/metrics.md

benchmark: $(READY)
	$(VENV)/bin/python benchmarks/share_cpu.py

# The table and the plots of docs/vardiff.md, written anew.
vardiff: $(READY)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-plots.lock
	$(VENV)/bin/python benchmarks/vardiff_simulation.py --seeds 30 --plots docs

# The long runs whose slices are part of `make test`.
campaign: $(READY)
	CAMPAIGN=1 $(VENV)/bin/python -m pytest -m campaign --timeout 7200

lock:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet uv
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --output-file requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
		--output-file requirements-runtime.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra plots --constraint requirements.lock --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --output-file requirements-plots.lock

clean:
	rm -rf $(VENV) build *.egg-info native/*.so

$(READY): requirements.lock pyproject.toml $(NATIVE)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dmpool needs Python 3.11 or newer: make run PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
