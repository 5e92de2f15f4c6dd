# Everything a new machine needs is Python 3.11 or newer with pip, make and git.
PYTHON ?= python3
override VENV := .venv
BIN := $(VENV)/bin
STUDY ?= demo-study
override MADE := .made-by-make
DATA ?= ../shared/data/mixtures

.PHONY: help setup demo demo-radiographs test test-slow test-docs test-gpu test-srun test-cluster faults test-light test-minimum cover peers bench-volumes bench-pretraining fuzz bench-law bench-bank study-real coverage outliers paired-tests bench-model \
	bench-trunk bench-devices bench-gpu bench-scale downstream-known downstream-real encoders-known encoders-real check-interchange check-trackers check-pages lint reference docs docs-serve dist constraints clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "voxmix needs Python 3.11 or newer; give one with: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

setup: $(VENV)/.installed  ## Make .venv with pinned dependencies

demo: setup  ## The main job on phantoms: volumes in, the best mixture out
	@if [ -e "$(STUDY)" ]; then made=; else made=yes; fi; \
	$(BIN)/voxmix demo "$(STUDY)"; ended=$$?; \
	if [ "$$made" ] && [ -d "$(STUDY)" ]; then touch "$(STUDY)/$(MADE)"; fi; exit $$ended

demo-radiographs: setup  ## The study of encoders on made radiographs with reports
	$(BIN)/voxmix demo --radiographs

# Tests run on all cores, at most 8, one process to a core, so the numerical libraries get one thread each. WORKERS=0
# runs them one after another. A process takes a stretch of tests in their order, and from the end of another's stretch
# when its own is done: what a file or folder makes for its tests is seldom made twice.
WORKERS ?= auto
PARALLEL := --numprocesses $(WORKERS) --maxprocesses 8 --dist worksteal
TESTING := pytest pytest-timeout pytest-xdist hypothesis beartype
test test-srun test-light test-minimum cover: export OMP_NUM_THREADS := 1

test: setup  ## All tests that take seconds
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: setup  ## Tests that take longer: the compiler, sharded networks
	$(BIN)/python -m pytest -m slow

# nbclient and a kernel run pages as notebooks; nothing else needs them.
test-docs: setup  ## What pages show: every command and notebook that can run here, minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt nbclient ipykernel
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not cluster and not gpu and not shared' tests/test_docs.py tests/test_site.py \
		tests/test_page_notebooks.py tests/test_shown_commands.py

test-gpu: setup  ## What only a CUDA device can show: never run by the makers of voxmix
	$(BIN)/python -m pytest -m gpu

test-cluster: setup  ## Runs made by a real Slurm of two nodes that is started here (Debian: slurm-wlm, munge), sshfs mounts, and faults: an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests/cluster

FAULTS ?= 50
faults: setup  ## FAULTS random faults while a real Slurm makes runs, compared bit for bit with one process: half an hour
	OMP_NUM_THREADS=1 $(BIN)/python tests/cluster/slurm_faults.py --faults $(FAULTS)

test-srun: setup  ## All tests where Slurm's srun is installed, as on a cluster
	@mkdir -p $(VENV)/srun && printf '#!/bin/sh\nexit 1\n' > $(VENV)/srun/srun && chmod +x $(VENV)/srun/srun
	PATH="$(CURDIR)/$(VENV)/srun:$$PATH" $(BIN)/python -m pytest $(PARALLEL)

# Left out are the tests of the law and of the allocation. `make lint` proves that what these rooms import needs NumPy and
# SciPy alone, in the same versions in both environments, so their numbers are those of `make test`. That they work here
# is shown by the verbs (tests/cli), the studies and the reports that fit and allocate.
test-light: setup  ## The light core in an environment of its own, without torch
	$(PYTHON) -m venv --clear $(VENV)-light
	$(VENV)-light/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable . $(TESTING)
	$(VENV)-light/bin/python -m pytest $(PARALLEL) -m 'not shared and not slow and not gpu and not cluster' \
		--ignore tests/law --ignore tests/allocation

# TESTS names a part. Old libraries may warn that what they use of newer ones is to go: no fault of voxmix.
# pip brings torch with CUDA on Linux, 5 GB on disk; for a CPU build, set pip's index-url or find-links to one.
TESTS ?= tests
test-minimum: setup  ## The tests with the lowest versions that pyproject.toml allows, on Python 3.11
	$(PYTHON) -m venv --clear $(VENV)-minimum
	$(BIN)/python tests/minimum_versions.py > $(VENV)-minimum/constraints.txt
	$(VENV)-minimum/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		--constraint $(VENV)-minimum/constraints.txt --editable '.[all]' $(TESTING)
	$(VENV)-minimum/bin/python -m pytest $(PARALLEL) -W default::DeprecationWarning -W default::PendingDeprecationWarning $(TESTS)

cover: setup  ## Which lines of voxmix the tests run; TESTS names a part
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered $(TESTS)

peers: $(VENV)-peers/.installed  ## An environment with the libraries that benchmarks compare with

$(VENV)-peers/.installed: pyproject.toml constraints.txt benchmarks/peers.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable '.[all]' --requirement benchmarks/peers.txt
	@touch $@

bench-trunk: setup  ## One trunk for several budgets against separate runs: about 15 minutes
	$(BIN)/python benchmarks/trunk.py

bench-scale: setup  ## Time and memory of every verb against runs, volumes and files, up to 100,000: hours; sizes: SCALE='--sources 1000 --runs'
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scale.py $(SCALE) --rows benchmarks/scale.json --plot docs/images/scale.svg

bench-devices: setup  ## Two processes against one: the same losses, and the speed-up
	$(BIN)/python benchmarks/devices.py

bench-gpu: $(VENV)-peers/.installed  ## On a GPU: draws per second, utilization, waiting and memory, beside MONAI: half an hour
	$(VENV)-peers/bin/python benchmarks/gpu.py --json bench-gpu.json

bench-volumes: $(VENV)-peers/.installed  ## Crops, prepare and growth against MONAI, TorchIO and blosc2: takes long
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/volumes_crops.py
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/volumes_prepare.py
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/volumes_growth.py --figure docs/images/volumes_growth.svg

bench-pretraining: $(VENV)-peers/.installed  ## Volumes per second of training against MONAI and plain PyTorch
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/pretraining_end_to_end.py
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/pretraining_step.py

fuzz: setup  ## Ten thousand damaged files to the readers
	$(BIN)/python benchmarks/fuzz_readers.py --cases 10000 \
		$(if $(wildcard ../shared/data/awkward),--files ../shared/data/awkward)

bench-law: peers  ## The law and the allocation against their peers: takes long; DATA names public mixture runs
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/law_speed.py
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/law_curves.py
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/law_regmix.py $(DATA)/regmix
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/law_dmsl.py
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/law_repetition.py $(DATA)/active_sl
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/refine_repetition.py
	OMP_NUM_THREADS=1 $(VENV)-peers/bin/python benchmarks/allocation_scale.py --sizes 6 30 100 300 1000 2000 4000 --peers \
		--plot docs/images/allocation_scale.svg

BANK ?= $(DATA)/voxmix_bank
bench-bank: setup  ## Every law against measured mixtures, to judge and never to choose; BANK names a folder of tables
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/law_bank.py $(BANK)

VOLUMES ?= ../shared/data/volumes
study-real: setup  ## The flagship study on seven real domains, resumable: hours; VOLUMES names the folder of volumes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/study_real.py $(VOLUMES)

coverage: setup  ## Coverage of intervals on 300 simulated worlds, and 100 of each kind that resembles measured ones: takes long
	$(BIN)/python benchmarks/law_coverage.py --worlds 300 --hard 100
	$(BIN)/python benchmarks/score_laws.py

outliers: setup  ## How often right losses are called odd, and wrong ones found: minutes; TABLES names more tables
	$(BIN)/python benchmarks/law_outliers.py --worlds 500 $(TABLES)

paired-tests: setup  ## How often tests between initializations are wrong, on made-up scores: a minute
	$(BIN)/python benchmarks/paired_tests.py

bench-model: setup  ## Cost of a draw: mae against unetr, memory per volume, time over crop and tokens
	$(BIN)/python benchmarks/model_cost.py

check-interchange: setup  ## Weights in MONAI 1.3 to 1.6 and timm, mixtures in others' loaders; installs each aside
	$(BIN)/python tests/training/check_interchange.py

check-trackers: setup  ## The tracker plug-ins against the real MLflow and W&B, offline
	$(BIN)/python tests/training/check_trackers.py

check-pages: setup  ## Every HTML page by axe in chromium: no serious finding; fetches axe-core from npm
	npm install --silent --no-audit --no-fund --prefix $(VENV)/axe axe-core
	$(BIN)/python -m pytest -m 'slow or not slow' tests/report/test_pages_in_browser.py

downstream-known: setup  ## Finetuning on a known answer: where pretraining must help, and where it cannot
	$(BIN)/python benchmarks/downstream_known.py $(STUDY)

downstream-real: setup  ## Four clinical tasks on real volumes: VOLUMES=folder, resumable, an hour or two
	$(BIN)/python benchmarks/downstream_real.py $(VOLUMES) $(STUDY)

IMAGES ?= ../shared/data/radiographs
OUT ?= encoder-studies
encoders-known: setup  ## Known answers that studies of encoders must find, on made radiographs: an hour; OUT names a folder
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/known_answers.py --out "$(OUT)/known"

encoders-real: setup  ## Which objective and how many images, on real ones: IMAGES=folder, OUT=folder, resumable, hours
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/encoders_real.py "$(IMAGES)" --out "$(OUT)"

lint: setup  ## Style, layers and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

reference: setup  ## Write the pages and tables of the reference that are made from the code
	$(BIN)/python docs/make_reference.py

# The site is built from docs/ without a network; a link that leads nowhere ends it. Its tools are no
# part of the development environment, so they have one of their own.
$(VENV)-docs/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt mkdocs-material
	@touch $@

docs: $(VENV)-docs/.installed  ## The site of the documentation, into site/, with its links checked
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict
	@echo "wrote site/index.html"

docs-serve: $(VENV)-docs/.installed  ## The site at http://127.0.0.1:8000, made again when a page changes
	$(VENV)-docs/bin/mkdocs serve

TAG ?=
dist: setup  ## Wheel and sdist into dist/, each installed in a clean environment and tried; TAG=v1.2.3 must name the version
	$(BIN)/python tests/try_package.py $(if $(TAG),--tag "$(TAG)")

constraints:  ## Resolve the newest versions and pin them
	$(PYTHON) -m venv --clear $(VENV)-pin
	$(VENV)-pin/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)-pin/bin/python -m pip install --quiet '.[all,dev,docs]' torch==2.13.0
	{ head -1 constraints.txt; $(VENV)-pin/bin/python -m pip freeze --exclude voxmix --exclude pip \
		--exclude setuptools | sed 's/+cpu//'; } > constraints.new && mv constraints.new constraints.txt
	rm -rf $(VENV)-pin

# Only what make has made, by fixed names: STUDY may name a study of months, in the environment too.
clean:  ## Remove the environments, and demo-study if make demo has made it
	rm -rf $(VENV) $(VENV)-light $(VENV)-minimum $(VENV)-pin $(VENV)-peers $(VENV)-docs site dist
	if [ -e demo-study/$(MADE) ]; then rm -rf demo-study; fi
