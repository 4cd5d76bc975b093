# What must hold before a change lands: `make check`. The parts: `make test`, `make docs`.
.PHONY: check test docs

check:
	.ci/check

test:
	pytest

# Every code block of README and docs runs; every link, command and dotted name is there.
docs:
	pytest tests/test_documentation.py
