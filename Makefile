# `make demo` shows it, `make test` proves it. Everything is installed into .venv here.
# Users need Python 3.11 to 3.14, make and git; only `make locks` needs uv.

.PHONY: demo test test-long check clean-demo locks wheelhouse

BIN := .venv/bin

# further locks: `make test WITH=train-cpu` runs the tests that need torch, too; `make demo WITH=train` or
# WITH=train-cpu fine-tunes with that build of torch, where `make demo` alone looks which one comes without CUDA
WITH ?=

# a library we serve with would otherwise keep a device id and report to its maker
export ORT_DISABLE_TELEMETRY := 1

demo:                       ## the whole story in a few minutes, in ./demo.d
	@tools/setup demo $(if $(WITH),$(WITH) minilm,tuning)
	@$(BIN)/freehold demo

clean-demo:                 ## stop what the demo left running, remove demo.d
	@test ! -x $(BIN)/freehold || $(BIN)/freehold demo clean

# on two cores it takes three fifths of the time that one process would; a file stays with one worker
WORKERS ?= -n auto --maxprocesses=4 --dist loadfile

test: check                 ## everything that is checked on each change
	@$(BIN)/pytest -m "not long" --durations=25 $(WORKERS)

check:                      ## style, types, layers
	@tools/setup test $(WITH)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test-long: check            ## what takes more than a few minutes
	@$(BIN)/pytest -m long --timeout 3600

locks:                      ## for maintainers: resolve all dependencies anew (needs uv)
	@tools/setup test
	@$(BIN)/python locks/make_locks.py

wheelhouse:                 ## a folder to install from where there is no network
	@tools/setup demo
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist/wheelhouse .
	@$(BIN)/python -m pip download --quiet --no-deps --require-hashes --only-binary=:all: \
	    --dest dist/wheelhouse --requirement locks/demo.txt
	@echo "there: pip install --no-index --find-links dist/wheelhouse 'freehold[demo]'"
