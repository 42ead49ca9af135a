.PHONY: run demo test test-system lint bench bench-nginx schema lock deb clean
PYTHON ?= python3

# The daemon in sandbox on the shipped configuration: nothing leaves this machine, and no token is needed.
run: .venv
	@printf '%s\n' \
	  'In another terminal, a postback that brings its own click, and what became of it:' \
	  '' \
	  "  curl -i 'http://127.0.0.1:8190/2a76c2a/postback?subid=3sh8so4er3&status=sale&payout=2.61&em=example@gmail.com&campaign=AbCd12&fbclid=IwAR0Example_Click-Id'" \
	  '  .venv/bin/capi-sidecar explain --id 3sh8so4er3' \
	  '  .venv/bin/capi-sidecar status' \
	  ''
	.venv/bin/capi-sidecar run --sandbox

# Nginx with the shipped files, a stand-in tracker and the daemon: one click, one postback, the event and why.
demo: .venv
	@tests/install-parts.sh
	@.venv/bin/python -m tests.acceptance.demo

# All that CI runs.
test: lint
	tests/install-parts.sh
	.venv/bin/python -m pytest -q tests

# The package on a Debian 12 of its own, booted with its systemd; needs root, and apt-get the first time.
test-system: .venv
	@.venv/bin/pip install -q -e ".[package]"
	@tests/system/install-parts.sh
	.venv/bin/python -m pytest -q tests/system

lint: .venv
	.venv/bin/ruff check sidecar tests packaging
	.venv/bin/ruff format --check -q sidecar tests packaging
	.venv/bin/mypy

# Ratios against a bare aiohttp handler, from one run on this machine.
bench: .venv
	@tests/install-parts.sh
	@.venv/bin/python -m tests.bench

# What mirror and journal cost the tracker's clients: the table of docs/nginx.md.
bench-nginx: .venv
	@tests/install-parts.sh
	@.venv/bin/python -m tests.bench.nginx

# The JSON Schemas that the shipped YAML files name for editors.
schema: .venv
	@for file in integrations further mapping test; do .venv/bin/capi-sidecar schema $$file > config/schema/$$file.json; done

# The versions that the package holds and that pip takes with -c; `make lock UPGRADE=--upgrade` takes the newest.
lock: .venv
	.venv/bin/pip install -q -e ".[package]"
	.venv/bin/pip-compile -q --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header $(UPGRADE) \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.lock pyproject.toml

# The Debian package, in dist/: for Debian 12 and this machine's architecture.
deb: .venv
	@.venv/bin/pip install -q -e ".[package]"
	@packaging/build-deb .venv/bin dist

.venv: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -e ".[test]"
	touch .venv

clean:
	rm -rf .venv var dist .*_cache
