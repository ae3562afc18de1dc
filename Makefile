# `make demo` and `make test` need Python 3.11 or newer and make; everything else is fetched into .venv.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint style fuzz client lock clean

demo: .venv/.installed
	$(BIN)/structguard demo $(ARGS)

# Most tests wait for processes, so three of them run at a time, each with one thread; ARGS="-n 0" has them follow each
# other. mypy runs beside them, and speaks last.
test: style
	@$(BIN)/mypy >.venv/mypy.log 2>&1 & mypy=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist worksteal $(ARGS); tests=$$?; \
	wait $$mypy; types=$$?; cat .venv/mypy.log; exit $$((tests || types))

lint: style
	$(BIN)/mypy

style: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

# Tens of thousands of requests made up from the API's description; a short run of it is among the tests.
fuzz: .venv/.installed
	$(BIN)/python -m tests.contract.fuzz $(ARGS)

# A Python client for the API as it is here, in ./structguard-client.
client: .venv/.installed
	$(BIN)/python -m service --openapi > .openapi.json
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/openapi-python-client generate --overwrite --config service/openapi/client.yaml --meta uv \
	    --path .openapi.json --output-path structguard-client
	rm .openapi.json

# Versions and hashes of everything, for all systems; addresses of this machine's mirrors stay out of it.
lock: .venv/.installed
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --extra worker --extra otel --group dev pyproject.toml -o requirements.lock

# Not .structguard: that may be somebody's data.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Bytecode is compiled here, or the first start of the service would wait for it.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed, and $(PYTHON) is not. Name one: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@
