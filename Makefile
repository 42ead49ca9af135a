.PHONY: test
.venv: pyproject.toml
	python3 -m venv .venv && .venv/bin/pip install -q -e ".[test]" && touch .venv

test: .venv
	.venv/bin/python -m pytest -q tests
