# make run: a demonstration, in the window or as ten seconds of sound, with pictures in out/.   make test: every check.
# Both set themselves up on a fresh Debian or Ubuntu, and are quick the second time.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := python3-venv python3-dev gcc ffmpeg libportaudio2 jackd2 xvfb xdotool openbox espeak-ng libegl1 libgl1 libxkbcommon0 \
	libdbus-1-3 libfontconfig1 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xkb1 \
	libxkbcommon-x11-0

.PHONY: run test lint benchmark clean

# Where there is a display, the window with the clip playing; elsewhere the clip is played, and drawn into out/.
run: $(VENV)/.run
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] && $(MAKE) -s $(VENV)/.gui && \
	  $(BIN)/rtaudio gui --file examples/clip.flac --loop --chain 'remix(preset=live)'; then :; \
	else $(BIN)/python examples/demo.py out; fi

test: $(VENV)/.test lint
	@failed=0; \
	echo "tests that may run beside each other"; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $$(nproc) --dist worksteal -m 'not slow and not alone' || failed=1; \
	echo "tests that run alone"; \
	$(BIN)/python -m pytest -m 'alone and not slow' || failed=1; \
	exit $$failed

lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

benchmark: $(VENV)/.test
	@$(BIN)/python benchmarks/hpss.py
	@$(BIN)/python benchmarks/executor.py
	@$(BIN)/python benchmarks/wake.py
	@$(BIN)/python benchmarks/stress.py
	@$(BIN)/python benchmarks/inference.py
	@$(BIN)/python benchmarks/enhancement.py
	@$(BIN)/python benchmarks/realtime.py

clean:
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Debian's packages: installed as root or with sudo; otherwise they are named, and work goes on with what there is.
# Newer releases have JACK's tools in a package of their own.
$(VENV)/.system: Makefile
	@mkdir -p $(VENV)
	@missing=""; \
	if command -v dpkg-query >/dev/null; then \
	  for p in $(PACKAGES); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	  done; \
	fi; \
	root=""; \
	if [ "$$(id -u)" != 0 ]; then root="sudo"; fi; \
	if [ -n "$$missing" ] && { [ -z "$$root" ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; }; then \
	  echo "installing:$$missing"; \
	  $$root apt-get update -qq && \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	    && missing=""; \
	fi; \
	if ! command -v jack_lsp >/dev/null && command -v apt-get >/dev/null; then \
	  $${root:+$$root -n} apt-get install -y -qq jack-example-tools >/dev/null 2>&1 || true; \
	fi; \
	if [ -n "$$missing" ]; then echo "not installed, some checks will be skipped; as root: apt-get install$$missing"; \
	else touch $@; fi

# The first Python of these names that the project supports.
$(BIN)/python: | $(VENV)/.python
	@touch -c $@

$(VENV)/.python: | $(VENV)/.system-tried
	@found=""; \
	for p in "$$PYTHON" python3 python3.13 python3.12 python3.11; do \
	  [ -n "$$p" ] && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	    && { found=$$p; break; }; \
	done; \
	[ -n "$$found" ] || { echo "rtaudio needs Python 3.11 to 3.13: apt-get install python3.11 python3.11-venv"; exit 2; }; \
	$$found -m venv $(VENV) || { echo "no venv: apt-get install python3-venv"; exit 2; }
	@touch $@

.PHONY: $(VENV)/.system-tried
$(VENV)/.system-tried:
	@[ -e $(VENV)/.system ] || $(MAKE) -s $(VENV)/.system

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "installing Python packages"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.gui: pyproject.toml | $(VENV)/.run
	@echo "installing Python packages for the window"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo,gui,cpu]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "installing Python packages for the tests"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.run $(VENV)/.gui
