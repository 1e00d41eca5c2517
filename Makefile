# `make demo` shows it, `make test` proves it. Everything is installed into .venv here.
# Users need Python 3.11 to 3.14, make and git; only `make locks` needs uv.

.PHONY: demo test test-long test-postgres check clean-demo locks wheelhouse

BIN := .venv/bin

# further locks: `make test WITH=train-cpu` runs the tests that need torch, too; `make demo WITH=train` or
# WITH=train-cpu fine-tunes with that build of torch, where `make demo` alone looks which one comes without CUDA
WITH ?=

# a freehold.yaml for the demo: `make demo CONFIG=freehold.yaml`, where `database:` names a Postgres, plays it there
CONFIG ?=

# where the rows of the tests stand: `make test DATABASE=postgres` starts a server of its own
DATABASE ?= $(FREEHOLD_TEST_DATABASE)
export FREEHOLD_TEST_DATABASE := $(DATABASE)

# what depends on the database most, for a look at Postgres within a minute
ON_POSTGRES := tests/store/test_rows.py tests/store/test_migrate.py tests/identity/test_first_run.py \
    tests/ledger/test_agree.py tests/jobs/test_queue.py tests/control/test_ingest.py

# a library we serve with would otherwise keep a device id and report to its maker
export ORT_DISABLE_TELEMETRY := 1

demo:                       ## the whole story in a few minutes, in ./demo.d
	@tools/setup demo$(if $(CONFIG), postgres) $(if $(WITH),$(WITH) minilm,tuning)
	@$(BIN)/freehold demo$(if $(CONFIG), --config $(CONFIG))

clean-demo:                 ## stop what the demo left running, remove demo.d
	@test ! -x $(BIN)/freehold || $(BIN)/freehold demo clean

# how many processes `auto` is, and which files they begin with: tests/support/sharing.py; a file stays with one
# of them. Their files lie in a folder with a short name: the address of a socket has room for 107 characters
WORKERS ?= -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder

test: check                 ## everything that is checked on each change
	@files=$$(mktemp -d /tmp/fh.XXXXXX) && trap 'rm -rf $$files' EXIT && \
	    $(BIN)/pytest -m "not long" --durations=100 --durations-min=2 --basetemp=$$files/t $(WORKERS)

test-postgres:              ## the part of the suite that depends on the database most, on Postgres
	@tools/setup test $(WITH)
	@FREEHOLD_TEST_DATABASE=postgres $(BIN)/pytest -m "not long" $(ON_POSTGRES)

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
