# Two commands do everything on a fresh machine with Python >= 3.11, venv and make:
#   make serve   install into .venv, start the server on http://127.0.0.1:8000
#   make test    install into .venv with the test tools, run the fast tests
# `make test-all` adds the slow tests and the other cases, and draws more examples.
# `make embedded` trains the embedded checkpoint anew, and goes on where it was interrupted.
# `make test-chaos` mistreats real server processes: closed logs, full disks, kills.
# `make profile` measures the embedded checkpoint's TeaCache profile, and has to follow whenever its weights change.
# `make test-clients` also needs npm: it runs the vendors' clients against a server of ours.
# `make test-browser` needs npm and Chromium: it drives the web page. Chromium is installed with apt-get if it is missing.
# `make serve ARGS="--port 9000"` passes flags on to `ownware serve`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# A process per core. Memory, not cores, is what a large machine runs out of.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

# The threads of one process wait for each other, and there is a process per core.
test test-all durations test-chaos coverage test-clients test-browser: export OMP_NUM_THREADS := 1
# Without compiled files, each process and each server that a test starts would compile every module anew.
test test-all durations test-chaos coverage test-clients test-browser: export PYTHONDONTWRITEBYTECODE :=

.PHONY: serve test test-all durations test-chaos coverage test-clients test-browser check bench bench-check bench-caches embedded embedded-all profile clean

serve: $(VENV)/.serve
	@exec $(BIN)/ownware serve $(ARGS)

# Of a test with many cases, one. With ARGS, all.
test: $(VENV)/.test
	$(PYTEST) $(or $(ARGS),--cases 1)

test-all: $(VENV)/.test
	$(PYTEST) -m "not clients and not chaos and not browser" --hypothesis-profile thorough $(ARGS)

# Writes the tables of the page on tests anew. Other programs would be in its seconds.
durations: $(VENV)/.test
	$(PYTEST) -m "not clients and not chaos and not browser" --hypothesis-profile thorough --junitxml build/tests.xml $(ARGS)
	$(BIN)/python -m tests.durations --junit build/tests.xml --page docs/explanation/testing.md

# Three servers at a time, because they wait a lot. Each waits for a bounded time, so a server that hangs fails its test.
# Slow tests come first, one by one: a process with several of them would work on when the others have ended.
test-chaos: $(VENV)/.test
	$(BIN)/python -m pytest tests/chaos -m chaos --numprocesses 3 --dist load --maxschedchunk 1 $(ARGS)

# Of lines and branches, in all processes.
coverage: $(VENV)/.test
	$(PYTEST) -m "not clients and not chaos and not browser" --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --include "accel/*" --fail-under 99
	$(BIN)/coverage report --include "server/*" --fail-under 98

# The vendors' clients. Python SDKs that share a module name, or need much, have an environment of their own.
CLIENT_VENVS := .venv-legacy .venv-wavespeed .venv-wavespeed-legacy .venv-runpod .venv-openai

test-clients: $(VENV)/.test $(CLIENT_VENVS:=/.done) tests/clients/node_modules/.done
	$(BIN)/python -m pytest tests/clients tests/examples -m clients $(ARGS)

# A browser and a server at a time.
test-browser: $(VENV)/.test tests/browser/node_modules/.done | $(VENV)/.chromium
	$(BIN)/python -m pytest tests/browser -m browser $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.pipeline
	$(BIN)/python -m benchmarks.costs
	$(BIN)/python -m benchmarks.caches
	$(BIN)/python -m benchmarks.server

# Needs a CUDA device, and fails where it is slower than the committed lines of the same card.
bench-check: NEW := build/gpu.jsonl
bench-check: $(VENV)/.test
	mkdir -p build && rm -f $(NEW)
	$(BIN)/python -m benchmarks.gpu --out $(NEW) $(ARGS)
	$(BIN)/python -m benchmarks.gpu check $(NEW)

# Goes on where it was interrupted; measures anew what other weights have drawn.
bench-caches: RESULTS := benchmarks/results/step-caches-cpu.jsonl
bench-caches: $(VENV)/.test
	$(BIN)/ownware bench caches --weights embedded --devices cpu --repeats 7 --results $(RESULTS) --out build/step-caches $(ARGS)
	$(BIN)/ownware bench report --results $(RESULTS) --out build/step-caches --readme docs/reference/step-cache-results.md \
		--plot docs/figures/step-caches.png

embedded: $(VENV)/.training
	$(BIN)/python -m training $(ARGS)

# Makes everything anew that hangs on the embedded weights and is of others. ARGS=--check says what that is.
embedded-all: $(VENV)/.test
	$(BIN)/python -m training.products $(ARGS)

# Three of the traces go with the documentation and the tests.
profile: $(VENV)/.serve
	$(BIN)/ownware calibrate teacache --model runware:108@1 --weights embedded --steps 20,28 --guidance 4,1 \
		--size 256 --out accel/cache/profiles/embedded.toml --traces build/embedded.traces.jsonl
	head -n 4 build/embedded.traces.jsonl > docs/embedded.traces.jsonl

clean:
	rm -rf $(VENV) .venv-* tests/clients/node_modules tests/browser/node_modules

.venv-legacy/.done: CLIENT := runware==0.5.24
.venv-wavespeed/.done: CLIENT := wavespeed==2.0.5
.venv-wavespeed-legacy/.done: CLIENT := wavespeed==0.1.1
.venv-runpod/.done: CLIENT := runpod==1.12.0
.venv-openai/.done: CLIENT := openai==3.57.0

$(CLIENT_VENVS:=/.done):
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check $(CLIENT)
	@touch $@

tests/%/node_modules/.done: tests/%/package.json
	npm install --prefix tests/$* --no-audit --no-fund --no-package-lock --loglevel=error
	@touch $@

$(VENV)/.chromium: | $(BIN)/python
	command -v chromium || $$(command -v sudo) sh -c 'apt-get update -q && apt-get install -qy --no-install-recommends chromium'
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Installed again only when pyproject.toml changes. torch goes first and pinned: its version decides the rest.
$(VENV)/.serve: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.training: $(VENV)/.serve
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[training]"
	@touch $@

$(VENV)/.test: $(VENV)/.serve
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[test,dev]"
	@touch $@
