# Everything that is done here starts here; each target does its own set-up
# on a fresh Debian 12 machine (as root; the registries must be reachable).

VENV := .cache/venv
PYTHON := $(VENV)/bin/python -W ignore
# A suite's results, and so its slowest tests, are its own.
STESTR = export PYTHONWARNINGS=ignore; echo "$@: $$(date +%T)"; \
	timeout --foreground 40m $(VENV)/bin/stestr --test-path tests/$@ \
	--repo-url $(RESULTS)/$@ --parallel-class run --slowest
RESULTS := .cache/stestr
# Cinder's services run under eventlet; our tests need no monkey patching.
THREADS := export OS_CINDER_DISABLE_EVENTLET_PATCHING=true;

.DEFAULT_GOAL := help
.PHONY: help install cloud test pep8 unit native inside storm cinder-tests \
	releases functional system tenants faults matrix pulse drivers demo \
	fairness records benchmark status down destroy docs picture

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: ## packages, virtual environment, guest image
	@python3 -m tests.support.cloud install

cloud: install ## bring up the test cloud
	@python3 -m tests.support.cloud up

test: pep8 docs ## all tests: what CI runs
	@# Side by side where one computes while the other waits.
	@$(MAKE) -s -j 2 unit native cinder-tests
	@$(MAKE) -s cloud
	@$(MAKE) -s -j 2 functional system

pep8: install ## style, types, security
	@$(VENV)/bin/tox -q -e pep8

docs: install ## the documentation, into doc/build/html
	@$(VENV)/bin/tox -q -e docs

unit: install ## unit tests: no root, no cloud
	@mkdir -p $(RESULTS)/$@
	@$(STESTR)
	@$(THREADS) $(STESTR)

native: install ## what runs in guests, on this kernel's loop devices; root
	@mkdir -p $(RESULTS)/$@
	@$(STESTR) --serial

inside: install ## every call of the program in guests goes wrong, once
	@$(PYTHON) -m tests.reports.inside $(INSIDE)

storm: install ## a user of the guest with 300,000 mounts, or with processes
	@$(PYTHON) -m tests.reports.inside.storm $(STORM)

cinder-tests: install ## Cinder's own backup tests, with the plugin as driver
	@$(PYTHON) -m tests.reports.releases --release '2026.2$$' \
		--suite 'cinder$$'

releases: install ## our tests and Cinder's own in each supported release
	@$(PYTHON) -m tests.reports.releases $(RELEASES)

matrix: install ## the level that each kind of volume reaches, as a table
	@$(PYTHON) -m tests.reports.matrix $(MATRIX)

pulse: install ## long write(2) calls on kernels that need a pulse
	@$(PYTHON) -m tests.reports.matrix.pulse $(PULSE)

functional: install ## windows on a real guest behind a real libvirt
	@mkdir -p $(RESULTS)/$@
	@python3 -m tests.support.cloud up libvirtd
	@$(THREADS) $(STESTR) --worker-file tests/functional/workers.yaml

system: cloud ## backups in a real cloud
	@mkdir -p $(RESULTS)/$@
	@$(THREADS) $(STESTR) --serial

tenants: cloud ## a hung compute host, a hostile tenant's guest: beside others
	@mkdir -p $(RESULTS)/$@
	@$(THREADS) TENANTS=1 $(VENV)/bin/stestr --test-path tests/system \
		--repo-url $(RESULTS)/$@ run --serial test_blocking

faults: cloud ## every fault at every step of a window, then 200 at random
	@$(PYTHON) -m tests.reports.faults $(FAULTS)
	@$(MAKE) -s tenants

drivers: cloud ## each stock driver in both modes, as a table
	@$(PYTHON) -m tests.reports.drivers $(DRIVERS)

demo: ## stock Cinder and the plugin side by side, in a real cloud
	@python3 -m tests.reports.demo

fairness: install ## how long backups wait beside hostile tenants, simulated
	@$(PYTHON) -m tests.reports.fairness $(FAIRNESS)

records: install ## how long open windows are looked for among many volumes
	@$(PYTHON) -m tests.reports.records $(RECORDS)

benchmark: cloud ## how long a window takes
	@$(PYTHON) -m tests.reports.benchmark $(BENCHMARK)

status: ## the test cloud's services
	@python3 -m tests.support.cloud status

down: ## stop the test cloud; its data stay
	@test ! -d .cloud || python3 -m tests.support.cloud down

destroy: ## stop the test cloud and remove it
	@python3 -m tests.support.cloud destroy

picture: ## the documentation's pictures, from their text; needs graphviz
	@for text in doc/source/*/*.dot; do \
		dot -Tsvg $$text -o $${text%.dot}.svg || exit; done
