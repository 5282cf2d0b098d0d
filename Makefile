# One command each for the main things. Every target that builds first sets up what is missing (scripts/setup).
#
# CUDA=1        set up the full libtorch with its nvidia packages (about 5 GB) instead of the CPU parts
# PREFIX=DIR    where `make install` puts everything (default /usr/local); DESTDIR=DIR goes before it, for packagers
# OFFLINE=DIR   take wheels and crates from a folder that `make vendor` filled, and nothing from a network
# JOBS=N        stages that a demo runs side by side (default: as many as there are cores)
# FRESH=1       a demo starts from nothing

SHELL := /bin/bash
PREFIX ?= /usr/local
ifdef OFFLINE
override OFFLINE := $(abspath $(OFFLINE))
CARGO ?= cargo --offline --config 'source.crates-io.replace-with="vendored"' --config 'source.vendored.directory="$(OFFLINE)/crates"'
export PIP_NO_INDEX := 1
export PIP_FIND_LINKS := $(OFFLINE)/wheels
else
CARGO ?= cargo
endif
# For scripts that ask cargo something.
export PODIUM_CARGO := $(CARGO)
TARGET := $(or $(CARGO_TARGET_DIR),target)
JOBS ?= 0
DEMO_leap := pipelines/leap-blend
DEMO_icecube := pipelines/icecube-blend
DEMO_polarmae := pipelines/polarmae-labels
DEMO_tracknet := pipelines/tracknet
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)
TEST := $(if $(NEXTEST),$(CARGO) nextest run --release --workspace --no-fail-fast,$(CARGO) test --release --workspace --no-fail-fast)

.PHONY: help setup build binaries demo demo-leap demo-icecube demo-polarmae demo-tracknet pictures reproduce test test-long fuzz lint docs bench dist vendor install uninstall clean

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
demo-polarmae: ## PoLAr-MAE at small size: simulate, prepare, pretrain, fine-tune by 1, 10, 100 and all labels, score
demo-tracknet: ## TrackNET at small size: simulate, prepare, train, find tracks, score

pictures: demo-leap demo-icecube demo-polarmae demo-tracknet ## Make docs/images anew from all four demos
	@scripts/pictures/charts "$(TARGET)/release"
	@PATH="$(abspath $(TARGET))/release:$$PATH" scripts/pictures/events

reproduce: setup ## The blend pipeline at its smallest size from nothing, byte for byte as committed
	$(CARGO) test --release --workspace --test reproduce

test: setup ## Run all tests (35 minutes at most on 2 cores, after the build)
	$(TEST)

test-long: setup ## Run all tests with their long sweeps (500 kills, every byte cut, a minute of fuzzing a reader)
	PODIUM_LONG=1 $(TEST)

fuzz: export PODIUM_FUZZ_SECONDS ?= 600
fuzz: setup ## Evolve inputs against the file readers, ten minutes each (PODIUM_FUZZ_SECONDS=N)
	$(CARGO) test --release --workspace --test corpus -- --nocapture r18

lint: setup ## Check formatting, clippy, the generated reference and the workflows
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	$(CARGO) test --release --workspace --test docs
	scripts/workflows
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; else echo "cargo-deny is not installed: deny.toml was not checked"; fi

docs: setup ## Write docs/reference anew: completions, man pages, JSON schemas, and the table of rooms
	PODIUM_UPDATE=1 $(CARGO) test --release --workspace --test docs --test house

bench: setup ## Run the benches of docs/benchmarks.md
	$(CARGO) bench --workspace

dist: build ## Wheel, archive, list of parts and checksums into dist/
	python3 scripts/dist

vendor: setup ## Gather every crate and wheel in VENDOR=DIR (default vendor/) for `OFFLINE=DIR` on a machine without a network
	@scripts/vendor "$(or $(VENDOR),vendor)" $(if $(filter 1 yes true,$(CUDA)),--cuda)

install: ## Install what `make build` built into PREFIX: programs, configs, pipelines, man pages, completions
	@scripts/install "$(TARGET)/release" "$(DESTDIR)$(PREFIX)"

uninstall: ## Remove what `make install` put into PREFIX
	@scripts/install --remove "$(DESTDIR)$(PREFIX)"

clean: ## Remove what was built; downloads in the cache folder and .libtorch stay
	$(CARGO) clean
