.PHONY: test lint
PYTHON ?= python3

test: lint
	.venv/bin/python -m pytest -q tests

lint: .venv
	.venv/bin/ruff check sidecar tests
	.venv/bin/mypy

.venv: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -e ".[test]"
	touch .venv
