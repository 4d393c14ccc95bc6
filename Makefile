# The whole project by name. The work is done by the scripts in .ci/.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/herdbook/target

.DEFAULT_GOAL := help
.PHONY: help run test bench fmt lint sqlx setup

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Settings: LISTEN=127.0.0.1:8080 DATA_DIR=./herdbook-data (make run), TESTS=name (make test), BENCH=name (make bench)"

run: ## Build, start the registry with a demonstration herd, and say where it is
	@LISTEN="$(LISTEN)" DATA_DIR="$(DATA_DIR)" exec .ci/run-product

test: ## Check style, lints, the query cache, and run every test (TESTS=name for some)
	@.ci/test $(TESTS)

bench: ## Measure, each figure beside a baseline of the same run (BENCH=name for some)
	cargo bench --locked --bench herd -- $(BENCH)

fmt: ## Format the sources
	cargo fmt

lint: ## Check format and lints
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

sqlx: ## Write .sqlx anew, after a query or a migration changed
	@.ci/sqlx-prepare

setup: ## Install what tests need (Debian packages, Python environments)
	@.ci/setup test
