# Everything runs in .venv, which `make env` builds from the hashed lock; `make` alone lists the targets.

VENV := .venv
PY := $(VENV)/bin/python
# Two stamps, each written last, so a step that was cut short is never taken for a finished one. The
# first holds the directory it was made in, because a virtual environment does not survive a move.
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
CODE := tgtqr_lib tests
UV ?= uv

# The first of these that is 3.11 or newer and can make virtual environments, unless PYTHON is given.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14)

# A caller's own Python, pip or Jupyter settings must not reach into .venv.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONDONTWRITEBYTECODE VIRTUAL_ENV JUPYTER_PATH
unexport PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT

# -I: this line runs with the caller's environment, settings and all.
SOUND := $(shell [ "$$(cat $(LOCKED) 2>/dev/null)" = "$$(pwd -P)" ] \
	&& $(PY) -I -c 'import pip' 2>/dev/null && echo yes)
ifneq ($(SOUND),yes)
.PHONY: $(LOCKED)
endif

.PHONY: help env demo test check bench prove docs lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-6s %s\n", $$1, $$2 }' Makefile
	@echo 'Options for demo, test, bench, prove and docs go in ARGS: make test ARGS="-m slow -x"'

env: $(READY) ## make .venv ready (first time: a few minutes)
	@echo "$(VENV) is ready."

demo: $(READY) ## a simulated trading day: no network, no keys
	@$(VENV)/bin/tgtqr demo $(ARGS)

test: $(READY) ## the test suite
	@$(PY) -m pytest -n auto --dist loadfile $(ARGS)

check: $(READY) ## lint and formatting
	@$(PY) -m ruff check $(CODE)
	@$(PY) -m ruff format --check $(CODE)

bench: $(READY) ## measure speed
	@$(PY) tests/bench.py $(ARGS)

prove: $(READY) ## a thousand orders on a bad exchange: none twice, none forgotten
	@$(PY) tests/prove.py $(ARGS)

docs: $(READY) ## the strategy document as docs/build/trading_strategy.pdf, needs pdflatex; docs/reference/ anew
	@if [ -f docs/make_reference.py ]; then $(PY) docs/make_reference.py; fi
	@$(PY) docs/make_strategy.py $(ARGS)

lock: ## renew requirements.txt, needs uv (ARGS=--upgrade for newer versions)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command "make lock" --extra dev --output-file requirements.txt $(ARGS) pyproject.toml

# A sound .venv is brought up to date in place, anything else is made anew.
$(LOCKED): requirements.txt
	@set -e; \
	if [ "$(SOUND)" != yes ]; then \
		python=; old=; bare=; \
		for name in $(PYTHONS); do \
			version=$$($$name -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
			if ! $$name -I -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then old=$$version; continue; fi; \
			if ! $$name -I -c 'import venv; from ensurepip import bootstrap' 2>/dev/null; then bare=$${bare:-$$version}; continue; fi; \
			python=$$name; break; \
		done; \
		if [ -z "$$python" ] && [ -n "$$bare" ]; then \
			echo "Python $$bare is here but cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install python$$bare-venv (Fedora's python3 includes it). Then run make again."; \
			exit 1; \
		fi; \
		if [ -z "$$python" ]; then \
			echo "Python 3.11 or newer is needed; found $${old:-none} as $(PYTHONS). Install one (Debian and Ubuntu: sudo apt-get install python3.11 python3.11-venv) or name one: make env PYTHON=/path/to/python3.11"; \
			exit 1; \
		fi; \
		echo "First time: installs about $$(grep -c '^[a-z].*==' requirements.txt) packages into $(VENV) with Python $$version, a few minutes."; \
		$$python -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; \
	fi; \
	rm -f $(LOCKED) $(READY); \
	$(PIP) --no-compile --require-hashes -r requirements.txt; \
	echo "Compiling, so that first runs are not slow."; \
	$(PY) -m compileall -qq -j 0 $(VENV)/lib || true; \
	pwd -P > $(LOCKED)

$(READY): pyproject.toml $(LOCKED)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@# as an extension of Jupyter's own server, Voila would run whatever a visitor sends
	@$(PY) -m jupyter_server.extension.serverextension disable voila.server_extension --sys-prefix >/dev/null 2>&1
	@# in JupyterLab a sealed tick opens read-only
	@$(PY) -m tgtqr_lib.jupyter
	@touch $(READY)
