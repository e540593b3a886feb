# `make run` and `make test` are all that most people need; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
BENCH := var/bench
CLIENTS := var/clients
CLUSTER := var/cluster
ifdef BENCH_BASE
# One name for a commit, however it was asked for: its folder and the table bear it.
override BENCH_BASE := $(shell git rev-parse --verify --short=7 '$(BENCH_BASE)^{commit}')
$(if $(BENCH_BASE),,$(error BENCH_BASE names no commit of this repository))
export BENCH_BASE
BENCH_TOOLS := git taskset
OTHERS = $(BASE)/ready
else
BENCH_TOOLS := node npm taskset
OTHERS = $(BENCH)/litellm/ready $(BENCH)/portkey/ready
endif
BASE := $(BENCH)/base-$(BENCH_BASE)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# Dummies, so that the checks see the settings that production has.
PRODUCTION := HAMIRAN_MODE=production SECRET_KEY=only-for-the-check-of-the-settings-0123456789abcdefghijklmnop \
	PEPPERS=1:only-for-the-check-of-the-settings-0123456789 FIELD_KEYS=only-for-the-check-of-the-settings-0123456789 \
	ALLOWED_HOSTS=example.com BASE_URL=https://example.com \
	DATABASE_URL=postgresql:///nothing?host=/nowhere REDIS_URL=unix:///nowhere

.PHONY: help run dev tracing backup restore test proofs clients clients-n8n test-fast coverage chaos cluster rehearse-restore rehearse-upgrade chaos-cluster cheat bench bench-tools soak screenshots check check-types check-rest messages lock check-locks wheelhouse release audit clean

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*##/  make \1\t/p' $(MAKEFILE_LIST)

run: $(VENV)/runtime  ## install what is locked and run everything; PORT, HOST and HAMIRAN_VAR override
	@exec $(PY) -IS config/leash.py 15 $$PPID "" $(PY) manage.py serve  # ends when make is killed, too

dev: $(VENV)/dev  ## as `make run`, but changed code, templates and styles are seen at once, and logs are shown here
	@DJANGO_SETTINGS_MODULE=config.settings_development exec \
		$(PY) -IS config/leash.py 15 $$PPID "" $(PY) manage.py serve

tracing: $(VENV)/runtime  ## install what traces need (OTEL_EXPORTER_OTLP_ENDPOINT), beside all else
	@$(call install,requirements.txt requirements-tracing.txt)

backup: $(VENV)/runtime  ## write a dated backup of the database into var/backups, beside the running service; INTO
	@$(PY) manage.py backup $(if $(INTO),--into "$(INTO)")

restore: $(VENV)/runtime  ## bring FILE back into a fresh data folder or database, the service being stopped; OVERWRITE=yes
	@test -n "$(FILE)" || { echo "Say which backup: make restore FILE=var/backups/hamiran-….dump"; exit 1; }
	@$(PY) manage.py restore "$(FILE)" $(if $(filter yes,$(OVERWRITE)),--overwrite)

test: $(VENV)/dev  ## all tests but the slow proofs, on engines of their own, in two processes
	$(PY) -m pytest -m "not proof and not client" -n 2 $(ARGS)

proofs: $(VENV)/dev  ## those that `make test` leaves out: development, the demo account, installing, honest customers
	$(PY) -m pytest -m proof -n 2 $(ARGS)

clients: $(VENV)/dev $(CLIENTS)/ready  ## real agents and libraries from npm and PyPI against a running service; they are installed into var/clients
	$(PY) -m pytest -m client -n 2 tests/clients $(ARGS)

clients-n8n: $(VENV)/dev $(CLIENTS)/n8n/ready  ## the same with n8n, which takes 2.7 GB more
	$(PY) -m pytest -m client tests/clients/test_n8n.py $(ARGS)

test-fast: $(VENV)/dev  ## the pure tests and those of pages, in less than a minute
	@# What has none of them is not even read.
	$(PY) -m pytest -m fast -n 2 --ignore=tests/pages --ignore=tests/chaos \
		--ignore-glob='tests/proxy/api/test_*' $(ARGS)

coverage: $(VENV)/dev  ## all tests with every branch counted, in all processes; fails below the floor of pyproject.toml
	@rm -rf var/coverage && mkdir -p var/coverage
	$(PY) -m coverage run -m pytest -m "not client" -n 2 $(ARGS)
	$(PY) -m coverage combine -q
	$(PY) -m coverage html -q -d var/coverage/html
	$(PY) -m coverage report

chaos: $(VENV)/dev  ## kill everything at random under load, then compare all books; CHAOS_ROUNDS, CHAOS_SEED
	$(PY) bench/chaos.py

cluster: $(VENV)/runtime $(CLUSTER)/patroni/ready  ## PostgreSQL under Patroni, Valkey Cluster and two web nodes on loopback addresses (needs Debian's etcd, HAProxy, PgBouncer); PORT
	@exec $(PY) -IS config/leash.py 15 $$PPID "" $(PY) -m deploy.cluster.run

chaos-cluster: $(VENV)/dev $(CLUSTER)/patroni/ready  ## kill, cut off and freeze the machines of a cluster under load (root, in namespaces), then compare all books; CHAOS_ROUNDS, CHAOS_SEED
	$(PY) -m bench.chaos_cluster

rehearse-restore: $(VENV)/dev  ## lose a service under load twice, its disk and a table, and bring it back from its archive
	$(PY) -m bench.restore

rehearse-upgrade: $(VENV)/dev  ## from version 0.2.0 to the last commit under load, without a failed request
	$(PY) -m bench.upgrade

cheat: $(VENV)/dev  ## customers who cheat, on a service of their own: paid, true price, uncovered; CHEAT_ONLY for some
	$(PY) -m bench.cheat

bench: bench-tools $(VENV)/dev $(OTHERS)  ## measure beside LiteLLM and Portkey, or beside the commit BENCH_BASE; BENCH_ONLY for a row
	$(PY) -m bench.$(if $(BENCH_BASE),pairs,gateways)

soak: $(VENV)/dev  ## 1,000 streams at once through one web process; SOAK_MINUTES
	$(PY) -m bench.soak

screenshots: $(VENV)/dev  ## every page in both languages and colour schemes, phone and desk, into var/screenshots
	$(PY) -m pytest tests/pages/screenshots.py -q $(ARGS)

check: $(VENV)/dev  ## lint, formatting, types, imports, migrations, deployment
	@# Types take as long as all the rest together, so both run at the same time.
	@$(MAKE) --no-print-directory -j 2 check-types check-rest

check-types:
	$(VENV)/bin/mypy .

check-rest:
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(PRODUCTION) $(PY) -W "ignore:Got an error checking a consistent" manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(PY) manage.py check --deploy --fail-level WARNING

messages: $(VENV)/dev  ## collect every text for people into the catalogues and compile them (needs GNU gettext)
	@command -v xgettext >/dev/null || { echo "make messages needs GNU gettext (Debian: gettext)."; exit 1; }
	$(PRODUCTION) $(PY) manage.py makemessages -l fa --no-obsolete --no-wrap --add-location file \
		-i $(VENV) -i var -i tests
	$(PY) -c 'import polib, sys; polib.pofile(sys.argv[1] + "po").save_as_mofile(sys.argv[1] + "mo")' \
		config/locale/fa/LC_MESSAGES/django.

lock:  ## pin what pyproject.toml asks for, with hashes (needs uv: `pip install uv`)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-annotate --no-header \
		pyproject.toml -o requirements.txt
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-annotate --no-header \
		`sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.txt` \
		--extra tracing -c requirements.txt pyproject.toml -o requirements-tracing.txt
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-annotate --no-header \
		`sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.txt` \
		--group dev -c requirements.txt -c requirements-tracing.txt pyproject.toml -o requirements-dev.txt

check-locks:  ## install what each lock file holds, alone and afresh, and see that nothing is missing; takes minutes
	@rm -rf var/locks
	@$(MAKE) --no-print-directory VENV=var/locks/runtime var/locks/runtime/runtime
	@$(MAKE) --no-print-directory VENV=var/locks/dev var/locks/dev/dev
	@$(MAKE) --no-print-directory BENCH=var/locks/bench var/locks/bench/litellm/ready

wheelhouse: $(VENV)/runtime  ## every package as a file in WHEELHOUSE, var/wheelhouse if left out: `make run WHEELHOUSE=…` installs from it, offline
	@mkdir -p $(or $(WHEELHOUSE),var/wheelhouse)
	@$(PY) -m pip download -q --no-deps --require-hashes -r requirements.txt -d $(or $(WHEELHOUSE),var/wheelhouse)
	@echo "`ls $(or $(WHEELHOUSE),var/wheelhouse) | wc -l` packages, `du -sh $(or $(WHEELHOUSE),var/wheelhouse) | cut -f1`, in $(or $(WHEELHOUSE),var/wheelhouse)."
	@echo "On the other machine: make run WHEELHOUSE=(that folder). It needs the same kind of processor and the same Python."

release: $(VENV)/dev  ## archive, list of parts (CycloneDX) and checksums of the last commit, into var/release; SIGNING_KEY signs them
	@$(PY) deploy/release.py $(if $(SIGNING_KEY),--key "$(SIGNING_KEY)")

audit: $(VENV)/dev  ## known holes in what is locked
	@grep -q '==' requirements.txt || { echo "requirements.txt locks nothing, so nothing was audited."; exit 1; }
	@# Without --strict, a package that the index does not know, or a service that is away, is passed over.
	$(VENV)/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.txt || { \
		echo "Not audited, or not clean: the lines above say which."; exit 1; }

clean:  ## remove the virtual environment and caches; data under var/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# requirements-dev.txt holds only what requirements.txt does not. Both live in one environment, and what is there for
# development stays in step with an update of the rest.
$(VENV)/runtime: requirements.txt
	@$(call install,requirements.txt $(if $(wildcard $(VENV)/dev),requirements-dev.txt))
	@touch $@ $(wildcard $(VENV)/dev)

$(VENV)/dev: requirements.txt requirements-dev.txt
	@$(call install,requirements.txt requirements-dev.txt)
	@touch $@ $(VENV)/runtime

# The others of `make bench`, each in an environment of its own; their install scripts are not run.
bench-tools:
	@for tool in $(BENCH_TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
		test -z "$$missing" || { echo "make bench needs$$missing (Debian: apt-get install git nodejs npm util-linux)."; exit 1; }

# The files of a commit never change, so what is there once is there for good.
$(BASE)/ready: VENV := $(BASE)/.venv
$(BASE)/ready: PY := $(BASE)/.venv/bin/python
$(BASE)/ready:
	@mkdir -p $(BASE)
	@git archive $(BENCH_BASE) | tar -x -C $(BASE)
	@$(call install,$(BASE)/requirements.txt)
	@touch $@

$(BENCH)/litellm/ready: VENV := $(BENCH)/litellm
$(BENCH)/litellm/ready: PY := $(BENCH)/litellm/bin/python
$(BENCH)/litellm/ready: bench/requirements-litellm.txt
	@mkdir -p $(@D)
	@$(call install,bench/requirements-litellm.txt)
	@touch $@

$(BENCH)/portkey/ready: bench/portkey/package.json bench/portkey/package-lock.json
	@mkdir -p $(@D) && cp bench/portkey/package.json bench/portkey/package-lock.json $(@D)
	@echo "Installing Portkey into $(@D)."
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# For Patroni alone, in an environment of its own.
$(CLUSTER)/patroni/ready: VENV := $(CLUSTER)/patroni
$(CLUSTER)/patroni/ready: PY := $(CLUSTER)/patroni/bin/python
$(CLUSTER)/patroni/ready: deploy/cluster/requirements.txt
	@mkdir -p $(@D)
	@$(call install,$<)
	@touch $@

# Where Node is missing, the tests of its programs are skipped and say so. The two programs whose own install scripts
# run put their binary, which came with the package, in its place.
$(CLIENTS)/ready: $(addprefix $(CLIENTS)/,npm/ready sdks/ready aider/ready llamaindex/ready open-webui/ready)
	@touch $@

$(CLIENTS)/npm/ready: tests/clients/npm/package.json tests/clients/npm/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)
	@# Not `npm ci`: it asks for opencode's binaries of every platform in the lock file, and a registry may lack some.
	@command -v npm >/dev/null || { echo "Without Node, programs from npm are left out (Debian: apt-get install nodejs npm)."; exit 0; }; \
		echo "Installing programs from npm into $(@D)."; cd $(@D) && npm install --ignore-scripts --no-audit --no-fund --loglevel=error && \
		npm rebuild --no-audit --no-fund --loglevel=error @anthropic-ai/claude-code opencode-ai && touch ready

# One of its parts for spreadsheets comes from elsewhere; npm has an older one.
$(CLIENTS)/n8n/ready: tests/clients/n8n/package.json tests/clients/n8n/package-lock.json
	@mkdir -p $(@D) && cp $^ $(@D)
	@echo "Installing n8n into $(@D); this takes minutes."
	@cd $(@D) && npm install --ignore-scripts --no-audit --no-fund --loglevel=error && touch ready

$(CLIENTS)/%/ready: VENV = $(@D)
$(CLIENTS)/%/ready: PY = $(@D)/bin/python
$(CLIENTS)/%/ready: tests/clients/requirements-%.txt
	@mkdir -p $(@D)
	@$(call install,$<)
	@touch $@

# Without the gigabytes of tests/clients/open-webui.excludes, so its parts do not all fit.
$(CLIENTS)/open-webui/ready: tests/clients/requirements-open-webui.txt
	@mkdir -p $(@D)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || { \
		echo "Open WebUI is left out: it wants a Python before 3.13 (make clients PYTHON=python3.12)."; exit 0; }; \
		$(call install,$<,unchecked); touch $@

# A lock file names everything that is installed, so pip has nothing to resolve, and must not: it would look for the
# newest release of any `package[extra]` that it meets, which has no hash here. `pip check` then compares, unless a
# second argument says that some are left out.
# A dot per package, and pip's errors as they are: its own output is either silent or a flood.
# Debian's python3 comes without ensurepip; the system's pip can fill an environment from outside.
define install
set -e; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Hamiran needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`." \
		"Choose another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }; \
$(PYTHON) -c 'import venv' || { echo "$(PYTHON) has no venv module; install it (Debian: python3-venv)."; exit 1; }; \
pip="$(PY) -m pip"; \
if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	$(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV); \
elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear --without-pip $(VENV); \
	pip="$(PYTHON) -m pip --python $(PY)"; \
else \
	echo "$(PYTHON) has neither ensurepip nor pip; install one of them (Debian: python3-venv)."; exit 1; \
fi; \
echo "Installing the `cat $(1) | grep -c '=='` packages of $(strip $(1)) into $(VENV); the first time takes a minute or two."; \
{ $$pip install --no-deps --require-hashes --progress-bar off $(if $(WHEELHOUSE),--no-index --find-links "$(WHEELHOUSE)") $(addprefix -r ,$(1)) 2>&1 && echo "=done" || echo "=failed"; } | { \
	shown=no; \
	while IFS= read -r line; do \
		case "$$line" in \
			=failed) exit 1 ;; \
			=done) echo ' installed' ;; \
			Collecting*|Processing*|'Requirement already'*) printf . ;; \
			Installing*) printf ' unpacking' ;; \
			*ERROR:*|*error:*) shown=yes; printf '\n%s\n' "$$line" ;; \
			WARNING:*Retrying*) printf '\n%s\n' "$$line" ;; \
			*) test $$shown = no || printf '%s\n' "$$line" ;; \
		esac; \
	done; }; \
test -n "$(2)" || broken=`$$pip check 2>&1` || { printf '%s\n' "$$broken"; \
	echo "What is installed in $(VENV) does not fit together. If it is older than this checkout, make clean first."; exit 1; }
endef
