.PHONY: check format lint types layers docs test faults equality integrations

PYTHON ?= python

check: lint types layers docs test

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

layers:
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

# Needs no network; a warning is an error.
docs:
	$(PYTHON) -m sphinx -W --keep-going -q -b html docs docs/_build

test:
	$(PYTHON) -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=term
	$(PYTHON) -m pytest --numprocesses 2 --dist worksteal --durations 15 -m slow

# Half an hour of killed processes, full disks and restarted servers; by hand.
faults:
	$(PYTHON) -m pytest -m faults tests/faults

# Examples of the docs that run many commands or other tools; by hand, a quarter of an hour.
integrations:
	$(PYTHON) -m pytest --numprocesses 2 -m integrations tests

# Runs trained together beside as many of SB3's own; by hand, on a quiet machine.
equality:
	$(PYTHON) scripts/check_equality.py
