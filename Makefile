# Two commands for a machine that has make and Python 3.11 or newer. Both set up everything they need:
#   make demo    run the example on this machine, in its own virtual environment
#   make test    run all tests
#
# make test SLURM=auto      (default) run the Slurm tests if a cluster is possible
# make test SLURM=require   fail if there is no cluster
# make test SLURM=off       skip the Slurm tests
# make test WORKERS=1       one test at a time (default: four, each with its own cluster)
#
# make check                ruff, mypy and the import contract, in seconds
#
# make test-versions        run the cluster tests on other releases of Slurm (as root; Debian)
# make test-versions VERSIONS="20.11 26.05" VERSIONS_ARGS=tests/cluster/test_main_job_on_cluster.py
#
# make cluster-up           start the tests' cluster; make cluster-down ends it
# make cluster-shell        open a shell on the cluster (needs a terminal)
# make cluster-up CLUSTER=/other/folder    instead of /var/tmp/slurmslice-cluster
#
# make bench                measure the speed, also of other programs (benchmarks/README.md)
# make bench ONLY=local     run one benchmark
# make bench SMALL=1        run each benchmark at a small size, in seconds, to see that it works
#
# make scenario SEED=1      play a long unattended run on a cluster of its own (as root; 20 minutes)
# make scenario SCENARIO_ARGS="--usual-timings --ahead 200"   wait as at a real site, behind others
# make scenario SCENARIO_ARGS="--release 24.11"   play it on another release of Slurm (Debian)
# make scenario-faults      play the faults of a steward on a cluster of its own (as root; 25 minutes)
# make scenario-faults CASES="killed python-away"
# make scenario-policies    play canary, stop rules and steps afterwards, with both engines (as root)

PYTHON ?= python3
SLURM ?= auto
CLUSTER ?= /var/tmp/slurmslice-cluster
VERSIONS ?=
RELEASES ?= /var/tmp/slurmslice-releases
VERSIONS_ARGS ?=
ONLY ?=
SEED ?= 1
SLICES ?= 300
CASES ?=
SMALL ?=
PYTEST_ARGS ?=
WORKERS ?= 4

BIN := .venv/bin
READY := .venv/ready
DEMO := build/demo

.PHONY: demo test test-versions check bench scenario scenario-faults scenario-policies cluster-up cluster-down cluster-shell clean help

help:
	@sed -n 's/^#\( \|$$\)//p' Makefile

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "slurmslice needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "On Debian and Ubuntu: apt-get install python3-venv, then run the same command again."; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,example]'
	touch $@

demo: $(READY)
	rm -rf $(DEMO)
	mkdir -p $(DEMO)
	sh examples/correlation/demo.sh "$(CURDIR)/$(BIN)" $(DEMO)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo .importlinter.toml

test: check
	rm -f .coverage .coverage.*
	PATH="$(CURDIR)/$(BIN):$$PATH" SLURMSLICE_REQUIRE_TOOLS=1 SLURMSLICE_TEST_SLURM=$(SLURM) \
	  SLURMSLICE_TEST_CLUSTER=$(CLUSTER) $(BIN)/coverage run -m pytest \
	  --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(if $(PYTEST_ARGS),--fail-under=0)

test-versions: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.support.versions $(VERSIONS) \
	  --cache $(RELEASES) -- $(VERSIONS_ARGS)

bench: $(READY)
	SLURMSLICE_TEST_SLURM=$(SLURM) SLURMSLICE_TEST_CLUSTER=$(CLUSTER) \
	  $(BIN)/python -m benchmarks $(if $(SMALL),--small) $(ONLY)

scenario: $(READY)
	$(BIN)/python -m tests.scenarios.unattended $(CLUSTER)-scenario --seed $(SEED) --slices $(SLICES) $(SCENARIO_ARGS)

scenario-faults: $(READY)
	$(BIN)/python -m tests.scenarios.steward_faults $(CLUSTER)-faults $(CASES)

scenario-policies: $(READY)
	$(BIN)/python -m tests.scenarios.policies $(CLUSTER)-policies $(CASES)

cluster-up:
	$(PYTHON) tests/support/slurm_cluster up --dir $(CLUSTER)

cluster-down:
	$(PYTHON) tests/support/slurm_cluster down --dir $(CLUSTER)

cluster-shell: $(READY)
	$(BIN)/python -m tests.support.site $(CLUSTER)

clean:
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
