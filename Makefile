# One command each for the main things. Every target that builds first sets up what is missing (scripts/setup).
#
# CUDA=1        set up the full libtorch with its nvidia packages (about 5 GB) instead of the CPU parts
# PREFIX=DIR    where `make install` puts the binaries (default /usr/local)
# JOBS=N        stages that a demo runs side by side (default: as many as there are cores)
# FRESH=1       a demo starts from nothing

SHELL := /bin/bash
CARGO ?= cargo
PREFIX ?= /usr/local
TARGET := $(or $(CARGO_TARGET_DIR),target)
JOBS ?= 0
DEMO_leap := pipelines/leap-blend
DEMO_icecube := pipelines/icecube-blend
DEMO_polarmae := pipelines/polarmae-segment-fft
DEMO_tracknet := pipelines/tracknet
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
TEST := $(if $(NEXTEST),$(CARGO) nextest run --release --workspace --no-fail-fast,$(CARGO) test --release --workspace --no-fail-fast)

.PHONY: help setup build binaries demo demo-leap demo-icecube demo-polarmae demo-tracknet reproduce test test-long fuzz lint docs bench install clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Fetch and unpack libtorch and cmake (CUDA=1: everything for GPUs)
	@scripts/setup $(if $(filter 1 yes true,$(CUDA)),--cuda)

build: binaries ## Build all binaries into target/release

# Nothing of it on standard output, where the results of the demos go.
binaries: setup
	@$(CARGO) build --release --workspace --bins >&2

demo: demo-leap ## The main job at small size: simulate, prepare, train, fine-tune, predict, blend, score

# What is up to date is not run again. The last line on standard output is one JSON object: outputs and figures.
demo-leap demo-icecube demo-polarmae demo-tracknet: binaries
	@"$(TARGET)/release/run-pipeline" $(DEMO_$(@:demo-%=%)) --size demo -j $(JOBS) --fail-fast --result $(if $(filter 1 yes true,$(FRESH)),--force)

demo-icecube: ## IceCube at small size: simulate, prepare, train two networks, predict, blend, score
demo-polarmae: ## PoLAr-MAE at small size: simulate, prepare, pretrain, fine-tune, predict, score
demo-tracknet: ## TrackNET at small size: simulate, prepare, train, find tracks, score

reproduce: setup ## The blend pipeline at its smallest size from nothing, byte for byte as committed
	$(CARGO) test --release --workspace --test reproduce

test: setup ## Run all tests (35 minutes at most on 2 cores, after the build)
	$(TEST)

test-long: setup ## Run all tests with their long sweeps (500 kills, every byte cut, a minute of fuzzing a reader)
	PODIUM_LONG=1 $(TEST)

fuzz: export PODIUM_FUZZ_SECONDS ?= 600
fuzz: setup ## Evolve inputs against the file readers, ten minutes each (PODIUM_FUZZ_SECONDS=N)
	$(CARGO) test --release --workspace --test corpus -- --nocapture r18

lint: setup ## Check formatting, clippy and the generated reference
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	$(CARGO) test --release --workspace --test docs

docs: setup ## Write docs/reference anew: completions, man pages, JSON schemas
	PODIUM_UPDATE=1 $(CARGO) test --release --workspace --test docs

bench: setup ## Run the benches of docs/benchmarks.md
	$(CARGO) bench --workspace

install: build ## Install the binaries into PREFIX/bin; they find libtorch in this checkout
	install -d "$(DESTDIR)$(PREFIX)/bin"
	find "$(TARGET)/release" -maxdepth 1 -type f -executable ! -name '*.*' \
		-exec install -t "$(DESTDIR)$(PREFIX)/bin" {} +

clean: ## Remove what was built; downloads in the cache folder and .libtorch stay
	$(CARGO) clean
