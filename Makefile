# What you can do here. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# What `make demo ARGS=--exit` hands on to the program.
ARGS ?=
# How long each fuzz target runs.
SECONDS_EACH ?= 60

# libpq's variable, which the tests' PostgreSQL connections read too; yours wins.
export PGPASSWORD ?= portal-backup-tests

.PHONY: help demo test bench lint fuzz tools services

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14

demo: ## Build the program and let it back up a portal made for the purpose (ARGS=--exit: and end)
	@scripts/tools.sh build
	cargo build --release --locked
	target/release/portal-backup demo $(ARGS)

test: tools services lint ## Install and start what tests need, check the code, run all tests
	cargo test --workspace --locked

bench: tools services ## Measure the main job against its peers (BENCH_SCALE=0.05, BENCH_LARGE=1)
	cargo bench --locked --bench main_job --bench restore --bench incremental --bench postgres --bench s3 --bench small_files

lint: tools ## Check format, lints and the licences of dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --locked --test licences

fuzz: tools ## Feed the archive's reader garbage (SECONDS_EACH=60)
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	cd crates/archive && targets=$$(cargo fuzz list) && for target in $$targets; do \
	  cargo fuzz run --sanitizer none "$$target" -- -max_total_time=$(SECONDS_EACH) || exit 1; done

tools: # What building and the tests call, from Debian
	@scripts/tools.sh

services: # The databases that tests and bench talk to
	@scripts/services.sh
