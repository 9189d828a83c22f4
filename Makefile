# scmobench: type `make help`.
# PYTHON=python3.12 make test     another interpreter (3.11 to 3.14)
# make test VENV=                 your own environment: nothing is installed, $(PYTHON) is used as it is
PYTHON ?= python3
VENV ?= .venv
# runs at once, each on one thread: make reproduce JOBS=8
JOBS ?= 2
# make reproduce and make rivals: two tables at once, each with half of the runs, so that no core waits for a last run
AT_ONCE := $(if $(filter 1,$(JOBS)),1,2)
EACH := $(shell echo $$(( ($(JOBS) + $(AT_ONCE) - 1) / $(AT_ONCE) )))
export OMP_NUM_THREADS ?= 1
# the same bytes on any x86-64 processor with AVX2; elsewhere each processor has its own last digits
ARITHMETIC ?= $(shell grep -qw avx2 /proc/cpuinfo 2>/dev/null && echo portable || echo native)
SHELL := /bin/bash

ifeq ($(strip $(VENV)),)
  PY := $(PYTHON)
  READY :=
else
  PY := $(VENV)/bin/python
  READY := $(VENV)/.ready
endif
SCMOBENCH := $(PY) -m scmobench
TASKS := predict_modality match_modality joint_embedding
TABLES := $(TASKS) $(TASKS:%=ablation_%) ensemble_predict_modality
RIVALS := $(TASKS:%=rivals_%)
LONGEST := reproduce-ablation_match_modality  # begins first, so that nothing waits for it

.DEFAULT_GOAL := help
.PHONY: help install data reproduce reproduce-paper test smoke lint wheels-check wheel fuzz faults leaderboard results clean rivals $(TABLES:%=reproduce-%) $(RIVALS:%=reproduce-%)

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  make reproduce-TABLE    one of these tables:"
	@printf "    %s\n" $(TABLES) $(RIVALS)

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
	  { echo "expected Python 3.11 to 3.14, found $$($(PYTHON) --version); name one with PYTHON="; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some minutes, once)"
	@$(VENV)/bin/python -m pip install -q -c constraints.txt torch
	@$(VENV)/bin/python -m pip install -q -c constraints.txt -e '.[test,sweep,wandb,rivals,cluster]'
	@touch $@

install: $(READY)  ## install pinned packages into .venv

data: $(READY)  ## fetch and check mini_cite, the real data that ships with the suite (0.5 MB)
	@$(SCMOBENCH) data fetch mini_cite

reproduce: $(READY)  ## run scMoGNN, simple methods and controls on the two shipped data sets, make tables, compare with ours
	@$(MAKE) -s --no-print-directory -j$(AT_ONCE) JOBS=$(EACH) $(LONGEST) $(TABLES:%=reproduce-%)
	@$(SCMOBENCH) leaderboard --records runs --out runs/leaderboard --compare results/records
	@echo "open in a browser: runs/leaderboard/index.html"

rivals: $(READY)  ## run the competition's other methods on the same data, add them to the tables
	@$(MAKE) -s --no-print-directory -j$(AT_ONCE) JOBS=$(EACH) $(RIVALS:%=reproduce-%)
	@$(SCMOBENCH) leaderboard --records runs --out runs/leaderboard --compare results/records

$(TABLES:%=reproduce-%) $(RIVALS:%=reproduce-%): reproduce-%: data
	@$(SCMOBENCH) run sweep=$* $(NARROW) arithmetic=$(ARITHMETIC) launcher=joblib hydra.launcher.n_jobs=$(JOBS)

reproduce-ensemble_predict_modality: NARROW := dataset=mini_cite  # twelve members a data set

reproduce-paper: $(READY)  ## repeat the tables of the scMoGNN paper on the official files (GPU, many hours; results/guide.md)
	@$(PY) benchmarks/paper_cost.py
	@$(SCMOBENCH) data fetch neurips2021_cite_phase2 task=predict_modality direction=from_gex
	@$(SCMOBENCH) data fetch neurips2021_cite_phase2 task=predict_modality direction=to_gex
	@$(SCMOBENCH) data fetch neurips2021_multiome_phase2 task=predict_modality direction=from_gex
	@$(SCMOBENCH) data fetch neurips2021_multiome_phase2 task=predict_modality direction=to_gex
	@$(SCMOBENCH) data fetch neurips2021_cite_phase2 task=match_modality
	@$(SCMOBENCH) data fetch neurips2021_multiome_phase2 task=match_modality
	@$(SCMOBENCH) data fetch neurips2021_cite_phase2 task=joint_embedding
	@$(SCMOBENCH) run sweep=paper_predict_modality
	@$(SCMOBENCH) run sweep=paper_ensemble_cite
	@$(SCMOBENCH) run sweep=paper_ensemble_multiome
	@$(SCMOBENCH) run sweep=paper_match_modality
	@$(SCMOBENCH) run sweep=paper_joint_embedding
	@$(SCMOBENCH) leaderboard --records runs --out runs/leaderboard --paper

test: data  ## run all tests
	@$(PY) -m pytest -n $(JOBS) --dist worksteal

smoke: data  ## run the main sweeps on tiny data, to see whether they work
	@printf '%s\n' $(TASKS:%=all_%) $(filter-out $(TASKS),$(TABLES)) | xargs -P $(JOBS) -I % \
	  $(SCMOBENCH) run sweep=% dataset=tiny_cite,tiny_multiome direction=from_gex seed=0 smoke=true runs=smoke-runs

lint: $(READY)  ## check the code style
	@$(PY) -m ruff check src tests benchmarks && $(PY) -m ruff format --check src tests benchmarks

leaderboard results: export SCMOBENCH_ARITHMETIC := $(ARITHMETIC)
fuzz: $(READY)  ## try 1,500 odd and damaged inputs: each must give right values or one clear message (5 to 20 minutes)
	@$(PY) tests/fuzz.py

faults: $(READY)  ## put deliberate faults into a copy of the code: the tests must catch each (20 minutes)
	@$(PY) tests/faults.py

wheels-check:  ## check that every pinned package has a wheel for Python 3.11 to 3.14 on Linux and macOS (needs the network)
	@test -x .wheels-check/bin/uv || $(PYTHON) -m venv .wheels-check
	@.wheels-check/bin/python -m pip install -q uv packaging
	@PATH="$(CURDIR)/.wheels-check/bin:$$PATH" .wheels-check/bin/python benchmarks/wheels.py

wheel:  ## build the wheel in dist/, and try it in an empty environment (some minutes)
	@rm -rf dist .wheel-check && $(PYTHON) -m venv .wheel-check
	@.wheel-check/bin/python -m pip wheel -q --no-deps -w dist .
	@.wheel-check/bin/python -m pip install -q -c constraints.txt dist/scmobench-*.whl
	@cd .wheel-check && bin/scmobench run model=knn dataset=tiny_cite && \
	  bin/python -c 'import scmobench; print(scmobench.leaderboard("runs").head(1).T)'
	@rm -rf .wheel-check && ls dist/scmobench-*.whl

leaderboard: $(READY)  ## make the committed tables again, from the committed records
	@$(SCMOBENCH) leaderboard --records results/records --out results/leaderboard --readme README.md --methods results/methods.md

results: $(READY)  ## for maintainers: add the runs in runs/ to the committed records, and make the tables again
	@$(SCMOBENCH) leaderboard --records runs --keep results/records --out results/leaderboard --readme README.md --methods results/methods.md

clean:  ## remove runs and caches (the environment stays)
	rm -rf runs smoke-runs dist .pytest_cache .ruff_cache .wheels-check .wheel-check
