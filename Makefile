# The habits of this project. `make` alone lists them. On a machine with cargo nothing else has to be set up: a Go
# toolchain is fetched into target/ where none is installed.

CARGO ?= cargo
PREFIX ?= /usr/local
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
SCRIPTS := protocol-tests/scripts

# Evaluated once, when a target needs it.
GO = $(eval GO := $$(shell sh $(SCRIPTS)/ensure-go.sh $(TARGET)))$(GO)

.PHONY: help build install demo test test-go-versions transcripts values captured test-editors vscode stress bench fuzz reference lint clean

help: ## list what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

build: ## the optimised binary, target/release/spelunk
	$(CARGO) build --release -p spelunk

install: build ## the binary into PREFIX/bin, with the capabilities it needs
	install -D -m 755 $(TARGET)/release/spelunk $(DESTDIR)$(PREFIX)/bin/spelunk
	-setcap cap_bpf,cap_perfmon+ep $(DESTDIR)$(PREFIX)/bin/spelunk

demo: toolchain ## a minute's tour: a traced program, its cost, an editor's logpoint
	@$(CARGO) build --workspace
	@SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/debug/spelunk $(TARGET)/debug/demo

test: toolchain ## everything, with real Go programs and the real kernel
	$(CARGO) build --workspace
	SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/debug/spelunk $(CARGO) test --workspace --no-fail-fast

test-go-versions: ## the suites of traces, logpoints, stops, values and calls with Go 1.21 to 1.27; VERSIONS="1.24.3 1.25.5" for some
	$(CARGO) build --workspace
	SPELUNK_BIN=$(TARGET)/debug/spelunk sh $(SCRIPTS)/test-go-versions.sh $(TARGET) $(VERSIONS)

test-editors: toolchain ## a session in a real VS Code (without a screen), Emacs and, where NVIM_DAP names the plugin, Neovim; SUITES="vscode" for some
	$(CARGO) build -p spelunk
	PATH="$(dir $(GO)):$$PATH" SPELUNK_BIN=$(or $(SERVER),$(TARGET)/debug/spelunk) sh editors/tests/run.sh $(TARGET) $(SUITES)

vscode: ## the extension for VS Code, target/editors/spelunk-go-VERSION.vsix
	@sh editors/vscode/pack.sh $(TARGET)

stress: toolchain ## what goes wrong, hundreds of times: kills, vanishing clients, pauses, hit counts under load, probes that come and go in a storm; SPELUNK_SEED repeats a run
	$(CARGO) build --release -p spelunk
	SPELUNK_STRESS=1 SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/release/spelunk \
		$(CARGO) test -p protocol-tests --test all -- stress queues --nocapture --test-threads=1

transcripts: toolchain ## sessions with dlv and with spelunk side by side, message by message
	@$(CARGO) build --workspace
	@SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/debug/spelunk $(TARGET)/debug/transcripts

values: toolchain ## values and expressions of a corpus of programs with dlv and with spelunk, one by one; writes protocol-tests/VALUES.md
	@$(CARGO) build --workspace
	@SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/debug/spelunk $(TARGET)/debug/values

captured: toolchain ## values that probes capture against those of a stopped program, one by one; writes protocol-tests/CAPTURED.md
	@$(CARGO) build --workspace
	@SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/debug/spelunk $(TARGET)/debug/captured

bench: toolchain ## spelunk, dlv --ebpf and dlv in one run: sessions, values, traced calls, an HTTP service under load with traces and conditions; the way from the ring to text
	@$(CARGO) build --release -p spelunk -p protocol-tests
	@SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/release/spelunk SPELUNK_LOAD=$$(sh $(SCRIPTS)/ensure-load.sh $(TARGET) $(GO)) \
		$(TARGET)/release/bench

fuzz: toolchain ## hostile input, for longer than in `make test`; SECONDS=600 for how long each target runs, CASES=100000 for the property tests
	$(CARGO) build --workspace
	SPELUNK_FUZZ_SECONDS=$(or $(SECONDS),60) SPELUNK_GO=$(GO) \
		$(CARGO) test -p spelunk --bin spelunk fuzz -- --nocapture
	PROPTEST_CASES=$(or $(CASES),20000) SPELUNK_GO=$(GO) \
		$(CARGO) test --workspace --lib --bins --exclude protocol-tests -- --skip fuzz
	SPELUNK_FUZZ_SECONDS=$(or $(SECONDS),60) SPELUNK_GO=$(GO) SPELUNK_BIN=$(TARGET)/debug/spelunk \
		$(CARGO) test -p protocol-tests --test all hostile -- --nocapture

reference: ## server/src/rpc/REFERENCE.md, from the declarations of the methods
	SPELUNK_WRITE_REFERENCE=1 $(CARGO) test -p spelunk --bin spelunk rpc::reference

lint: ## formatting and lints, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

clean: ## everything that was built or fetched
	$(CARGO) clean
	rm -rf editors/tests/node_modules

.PHONY: toolchain
toolchain:
	@test -n "$(GO)" || { echo "a Go toolchain is needed for the sample programs"; exit 1; }
	@sh $(SCRIPTS)/ensure-dlv.sh $(TARGET) $(GO)
