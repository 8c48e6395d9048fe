# Two commands set everything up on a machine that has Python 3.11 or newer and make:
#   make demo    the example, on this machine, in its own virtual environment
#   make test    everything that the tests need, then all of them
#
# make test SLURM=auto      (default) the Slurm tests run where they can
# make test SLURM=require   a missing cluster is a failure
# make test SLURM=off       without them
# make test WORKERS=1       one test at a time (default: two, each with a cluster of its own)
#
# make test-versions        the tests of the cluster on other releases of Slurm (as root; Debian)
# make test-versions VERSIONS="20.11 26.05" VERSIONS_ARGS=tests/cluster/test_main_job_on_cluster.py
#
# make cluster-up           the tests' cluster, to play with; make cluster-down ends it
# make cluster-shell        a shell on it (wants a terminal)
# make cluster-up CLUSTER=/other/folder    in another folder than /var/tmp/slurmslice-cluster
#
# make bench                how fast it is, against other programs (benchmarks/README.md)
# make bench ONLY=local     one of the benchmarks
# make bench SMALL=1        each of them small, in seconds: do they still measure something?

PYTHON ?= python3
SLURM ?= auto
CLUSTER ?= /var/tmp/slurmslice-cluster
VERSIONS ?=
RELEASES ?= /var/tmp/slurmslice-releases
VERSIONS_ARGS ?=
ONLY ?=
SMALL ?=
PYTEST_ARGS ?=
WORKERS ?= 2

BIN := .venv/bin
READY := .venv/ready
DEMO := build/demo

.PHONY: demo test test-versions check bench cluster-up cluster-down cluster-shell clean help

help:
	@sed -n 's/^#\( \|$$\)//p' Makefile

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "slurmslice needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "On Debian and Ubuntu: apt-get install python3-venv, then the same again."; exit 1; }
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
	  --numprocesses=$(WORKERS) --dist=loadfile $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(if $(PYTEST_ARGS),--fail-under=0)

test-versions: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.support.versions $(VERSIONS) \
	  --cache $(RELEASES) -- $(VERSIONS_ARGS)

bench: $(READY)
	SLURMSLICE_TEST_SLURM=$(SLURM) SLURMSLICE_TEST_CLUSTER=$(CLUSTER) \
	  $(BIN)/python -m benchmarks $(if $(SMALL),--small) $(ONLY)

cluster-up:
	$(PYTHON) tests/support/slurm_cluster up --dir $(CLUSTER)

cluster-down:
	$(PYTHON) tests/support/slurm_cluster down --dir $(CLUSTER)

cluster-shell: $(READY)
	$(BIN)/python -m tests.support.site $(CLUSTER)

clean:
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
