# Thin: each target is one or two commands. `make help` lists them.
CARGO ?= cargo
MACHINE := $(shell uname -m)
OWN_TARGET := $(shell uname -m)-unknown-linux-gnu
TARGET := $(OWN_TARGET)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
STATIC := RUSTFLAGS="-C target-feature=+crt-static"
# The linkers of other processors, by the names that Debian gives them.
LINKER = $(if $(filter $(OWN_TARGET),$(TARGET)),,$(shell echo CARGO_TARGET_$(TARGET)_LINKER | tr a-z- A-Z_)="$${$(shell echo CARGO_TARGET_$(TARGET)_LINKER | tr a-z- A-Z_):-$(subst -unknown,,$(TARGET))-gcc}")
# The commit in `xbuild --version`; a checkout without git has none.
COMMIT := $(shell git describe --always --dirty --exclude '*' 2>/dev/null)

.PHONY: all help release demo test test-rootless test-faults test-kernels test-matrix image test-image test-docker packages site record-matrix verify-twins verify-compilers verify-multi-call lint bench bench-growth bench-emulation bench-micro fuzz record-digests fixtures install-tools

all: ## debug build of everything
	$(CARGO) build --workspace --all-targets

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

release: ## the static, stripped binary target/release/xbuild; TARGET=aarch64-unknown-linux-gnu, say, stays in its own folder
	$(LINKER) $(STATIC) XBUILD_COMMIT=$(COMMIT) $(CARGO) build --release --target $(TARGET) --package xbuild
	@[ "$(TARGET)" != "$(OWN_TARGET)" ] || { mkdir -p target/release && cp target/$(TARGET)/release/xbuild target/release/xbuild; }

demo: ## builds xbuild, and fixtures/demo for four platforms without root; says what it downloads, and leaves target/demo
	@CARGO="$(CARGO)" MAKE="$(MAKE)" fixtures/demo/run

test: fixtures ## unit, golden and property tests and the suite, also as ordinary users where it is run by root
	$(CARGO) test --workspace

test-rootless: fixtures ## the suite with skips for missing kernel features turned into failures
	XBUILD_REQUIRE=userns,overlay,qemu,registry,skopeo,umoci,strace,git,ssh-agent,ssh-keygen $(CARGO) test --package xbuild --test suite

test-faults: fixtures ## a build of which one system call after the other fails or is the last, some minutes long
	XBUILD_REQUIRE=userns,overlay,strace $(CARGO) test --package xbuild --test suite -- --ignored faults::sweep

test-kernels: release fixtures ## builds on Debian's kernels in virtual machines; KERNELS="6.1" for one of 5.10, 6.1, 6.12, newer
	@tests/kernels/run target/release/xbuild $(KERNELS)

test-matrix: release fixtures ## builds in every kind of container and as every kind of user (root); ROWS="pod user" for some of tests/matrix/rows.py
	@fixtures/base-images debian >/dev/null
	@$(SUDO) tests/matrix/run target/release/xbuild $(ROWS)

image: release ## xbuild's own image for this machine's platform, made by itself: the OCI layouts target/image/xbuild and debug
	@fixtures/image/build target/release/xbuild target/image

test-image: release fixtures ## that image in Docker's default container (root, runc, umoci): builds the demo in the container's own root
	@$(SUDO) tests/image/run target/release/xbuild

verify-twins: release fixtures ## installs package sets natively and under QEMU and compares; SETS="gcc java", PLATFORM=linux/s390x, SECONDS=600
	@tests/twins/run target/release/xbuild --platform $(or $(PLATFORM),linux/arm64) --seconds $(or $(SECONDS),inf) $(SETS)

verify-compilers: release ## compiles with compilers and cross compilers of Debian 13 and compares; PLATFORM=linux/s390x
	@fixtures/base-images debian-13$(addprefix :,$(filter-out arm64,$(word 2,$(subst /, ,$(PLATFORM))))) >/dev/null
	@tests/twins/compilers target/release/xbuild $(PLATFORM)

verify-multi-call: release fixtures ## asks busybox of glibc and of musl under all names, natively and under QEMU; LIBC=glibc for one
	@fixtures/base-images debian >/dev/null
	@tests/twins/multi-call target/release/xbuild $(LIBC)

test-docker: release fixtures ## what goes into Debian's docker, podman and cosign and comes back (root, mmdebstrap); ENGINES="docker podman" for some
	@$(SUDO) tests/docker/run target/release/xbuild $(ENGINES)

packages: release fixtures ## a release: archive, .deb, .rpm, images, SBOM, SHA256SUMS, in target/packages; MACHINE=aarch64 for another one
	@[ -x target/tools/bin/cargo-deb ] && [ -x target/tools/bin/cargo-generate-rpm ] || \
		$(CARGO) install --quiet --locked --root target/tools cargo-deb@3.8.0 cargo-generate-rpm@0.21.1
	@[ "$(MACHINE)-unknown-linux-gnu" = "$(OWN_TARGET)" ] || $(MAKE) --no-print-directory release TARGET=$(MACHINE)-unknown-linux-gnu
	@PATH="$(CURDIR)/target/tools/bin:$$PATH" fixtures/release/build target/release/xbuild target/packages $(MACHINE)
	@fixtures/release/check target/packages $(MACHINE) target/release/xbuild

site: ## the documentation as a site, target/site/book, with every link checked
	@[ -x target/tools/bin/mdbook ] || $(CARGO) install --quiet --locked --root target/tools mdbook@0.5.4
	@PATH="$(CURDIR)/target/tools/bin:$$PATH" fixtures/site/build target/site

record-matrix: ## measures the tables of docs/environments.md anew (root), on a machine that does nothing else
	@$(MAKE) --no-print-directory test-matrix ROWS=--record
	@$(SUDO) tests/matrix/run target/release/xbuild --price

lint: ## format, clippy, rustdoc
	$(CARGO) fmt --all --check && $(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	rustfmt --edition 2024 --check crates/exec/starter/sys.rs
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --quiet

bench: release ## xbuild beside its peers and raw pipelines, into target/bench/results.md; BENCH="--scale 0.1" for a quick try
	@python3 -B tests/bench table $(BENCH)

bench-growth: release ## how time and memory grow with stages, layers, files, sizes and platforms, into target/bench/growth.md
	@python3 -B tests/bench growth $(BENCH)

bench-emulation: release ## emulated steps with twins, under QEMU alone and natively, into target/bench/emulation.md; BENCH="--platforms s390x"
	@fixtures/base-images debian >/dev/null && fixtures/base-images debian-13 >/dev/null
	@python3 -B tests/bench emulation $(BENCH)

bench-micro: ## bytes a second of tar, index, diff, hash, compressors and Dockerfiles, without a build; BENCH=tar for some
	@$(CARGO) bench --package xbuild-dockerfile --package xbuild-layer --package xbuild-files --package xbuild-snapshot \
		--bench parse --bench layers --bench folders --bench sinks -- $(BENCH)

fuzz: ## each fuzz target for FUZZ_SECONDS=60; FUZZ="parser index" for some; a failure is kept in tests/fuzz/artifacts
	@tests/fuzz/run $(FUZZ)

record-digests: release ## records the digests of the demo and of the conformance cases anew, after a change that is meant to change them
	XBUILD_RECORD=1 $(CARGO) test --package xbuild --test suite -- demo
	.ci/conformance target/release/xbuild --record

fixtures: ## base images, emulators and the tests' tools, made once, without root
	@for part in busybox emulators tools; do fixtures/base-images $$part >/dev/null || exit 1; done
	@for part in spdx otlp; do fixtures/base-images $$part >/dev/null || echo "without $$part from PyPI, for which python3-venv is needed"; done
	@fixtures/base-images managers >/dev/null || echo "without a base image of cargo and pip, for which python3-venv is needed"

install-tools: ## the tools that the tests need beside Rust, from Debian's or Ubuntu's packages (root)
	apt-get update -q && apt-get install -y -q --no-install-recommends $(TOOLS)

TOOLS := docker-registry qemu-user-static uidmap skopeo umoci busybox-static mmdebstrap arch-test python3 python3-venv bzip2 xz-utils zstd pigz \
	strace podman buildah debian-archive-keyring g++ gcc libc6-dev make openssh-client git \
	qemu-system-x86 e2fsprogs btrfs-progs xfsprogs runc passt tmux curl jq openssl libcap2-bin zsh fish chromium-headless-shell
