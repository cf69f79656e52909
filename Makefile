# Firetower's tasks; `make help` lists them. A fresh clone needs Go, git, make and,
# for the race detector, a C compiler. Everything else is installed here, pinned.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Pins: every tool's version stands here and nowhere else. The packages of the foreign
# test clients are pinned by core/client/foreign/package-lock.json.
GOFUMPT_VERSION            := v0.12.0
GOLANGCI_LINT_VERSION      := v2.15.0
BUF_VERSION                := v1.75.0
PROTOC_GEN_GO_VERSION      := v1.36.12
PROTOC_GEN_GO_GRPC_VERSION := v1.6.2
# x/perf has no releases: the commit that go.mod has.
BENCHSTAT_VERSION          := v0.0.0-20260908200009-22c9c6c9d4da

comma := ,

GO        ?= go
BIN       := $(CURDIR)/.bin
TMP       := $(CURDIR)/.tmp
FIRETOWER := $(BIN)/firetower

# The commit of the checkout, "-dirty" behind it when there are changes; empty without git.
COMMIT = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)

# What the targets take from the command line; empty means the scenario's or the tool's own.
SCENARIO  ?=
RATE      ?=
DURATION  ?=
CONNS     ?=
VS        ?=
DUET      ?=
REPEAT    ?=
SEED      ?=
GRID      ?=
OBJECTIVE ?=
LIMIT     ?=
BUDGET    ?=
OUT       ?=
ARGS      ?=
RUN       ?=
BASE      ?=
NEW       ?=
PKG       ?= ./...
BENCH     ?= .
COUNT     ?=
BENCHTIME ?=
BASE_REF  ?=
FUZZTIME  ?= 20s
TESTFLAGS ?=

##@ Build and test

## help: list the targets
.PHONY: help
help:
	@echo "make TARGET [VARIABLE=value ...]"
	@awk '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^## [a-z-]+: / { name = $$2; sub(":", "", name); text = $$0; sub("^## [a-z-]+: ", "", text); printf "  %-15s %s\n", name, text } \
		/^##   / { printf "  %-15s %s\n", "", substr($$0, 6) }' $(MAKEFILE_LIST)

## build: build the one binary, .bin/firetower
.PHONY: build
build: need-go
	@$(GO) build -trimpath -ldflags '-X main.describedCommit=$(COMMIT)' -o $(FIRETOWER) ./cmd/firetower

## test: go vet, then every test with the race detector (PKG=./core/... TESTFLAGS=-short)
.PHONY: test
test: need-go need-cc
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race -timeout 10m $(TESTFLAGS) $(PKG)

## test-peers: go vet and test other people's servers, and run a small load test against each
.PHONY: test-peers
test-peers: need-go need-cc peers
	$(GO) -C $(PEERS) vet ./...
	$(GO) -C $(PEERS) mod tidy -diff
	CGO_ENABLED=1 $(GO) -C $(PEERS) test -race -timeout 5m ./...
	FIRETOWER_LOADTEST_PEERS=$(BIN)/peers $(GO) test -count=1 -timeout 5m -run '^TestPeer' ./loadtest

## test-clients: WebSocket clients that we did not write (Node's ws, Chromium) against a real `firetower serve`
.PHONY: test-clients
test-clients: build need-node need-chromium
	npm ci --prefix core/client/foreign --no-audit --no-fund --loglevel=error
	FIRETOWER_BIN=$(FIRETOWER) CHROMIUM_BIN="$$(command -v chromium)" \
		$(GO) test -tags clients -count=1 -timeout 10m -v ./core/client/foreign

# cmd/bench with the tool that prints its tables.
bench = $(GO) build -trimpath -o $(BIN)/bench ./cmd/bench && $(BIN)/bench -tmp $(TMP) -benchstat $(BIN)/benchstat \
	$(if $(COUNT),-count '$(COUNT)') $(if $(BENCHTIME),-benchtime '$(BENCHTIME)')

## bench: run the benchmarks of core six times and compare with what bench-baseline wrote: fails on one
##   allocation more, never on time. BASE_REF=HEAD~1 compares with a revision, in turn with this one,
##   which is the way to compare times. BENCH=FanOut COUNT=10 BENCHTIME=1s
.PHONY: bench
bench: need-go tool-benchstat
	@$(bench) -bench '$(BENCH)' $(if $(BASE_REF),-base '$(BASE_REF)')

## bench-baseline: write the baseline of `make bench` anew, on a machine that does nothing else
##   COUNT=6 times, each of which takes some 40 s on two cores
.PHONY: bench-baseline
bench-baseline: need-go tool-benchstat
	@$(bench) -write

## bench-smoke: run every benchmark of `make bench` once, to see that it runs
.PHONY: bench-smoke
bench-smoke: need-go
	@$(bench) -smoke

## fuzz: run every fuzz target for FUZZTIME each (PKG=./core/protocol FUZZTIME=20s)
.PHONY: fuzz
fuzz: need-go
	@for pkg in $$($(GO) list $(PKG)); do \
		for target in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

##@ Format, lint, generate

## fmt: format the Go code with gofumpt
.PHONY: fmt
fmt: tool-gofumpt
	$(BIN)/gofumpt -w $(GO_DIRS)

## fmt-check: fail when a Go file is not formatted
.PHONY: fmt-check
fmt-check: tool-gofumpt
	@out="$$($(BIN)/gofumpt -l $(GO_DIRS))"; \
	if [ -n "$$out" ]; then echo "not formatted, run 'make fmt':"; echo "$$out"; exit 1; fi

## lint: golangci-lint, then planted violations of every import rule, each of which it must catch
.PHONY: lint
lint: tool-golangci-lint
	$(BIN)/golangci-lint config verify
	$(BIN)/golangci-lint run ./...
	cd $(PEERS) && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...
	FIRETOWER_GOLANGCI_LINT=$(BIN)/golangci-lint $(GO) test -tags lint -count=1 -run '^TestLinterCatches' .

## tidy-check: fail when go.mod or go.sum is not what `go mod tidy` leaves
.PHONY: tidy-check
tidy-check: need-go
	$(GO) mod tidy -diff

## proto: generate the Go code of core/topicpb
.PHONY: proto
proto: tool-buf tool-protoc-gen-go tool-protoc-gen-go-grpc
	cd core/topicpb && PATH="$(BIN):$$PATH" buf lint && PATH="$(BIN):$$PATH" buf generate

## proto-check: fail when the generated code is not what the proto says
.PHONY: proto-check
proto-check: tool-buf tool-protoc-gen-go tool-protoc-gen-go-grpc
	@mkdir -p $(TMP); dir="$$(mktemp -d $(TMP)/proto.XXXXXX)"; trap 'rm -rf "$$dir"' EXIT; \
	cp core/topicpb/*.proto core/topicpb/buf*.yaml "$$dir"; \
	(cd "$$dir" && PATH="$(BIN):$$PATH" buf lint && PATH="$(BIN):$$PATH" buf generate); \
	for file in "$$dir"/*.pb.go core/topicpb/*.pb.go; do \
		cmp "$$dir/$${file##*/}" "core/topicpb/$${file##*/}" || { echo "run 'make proto'"; exit 1; }; \
	done

# What is made from the tables and types of Go: the JSON Schemas of scenarios and of
# results, and the example configurations.
GENERATED_TESTS = TestSchemaIsUpToDate|TestKeysGolden|TestExampleFilesAreWhatTheTablesSay|TestSchemasAreUpToDate

## generate: write the JSON Schemas, the example configurations and the Go code of core/topicpb anew
.PHONY: generate
generate: proto
	$(GO) test -count=1 -run '$(GENERATED_TESTS)' ./scenarios ./config ./reports -update

## generate-check: fail when anything that is generated is not what `make generate` writes
.PHONY: generate-check
generate-check: proto-check
	$(GO) test -count=1 -run '$(GENERATED_TESTS)' ./scenarios ./config ./reports

##@ Load tests

# `make` turns any failure into its own exit code 2, so the code of the run is printed; call
# .bin/firetower itself where a script must tell the codes apart.
OVERRIDES = $(if $(RATE),--rate '$(RATE)') $(if $(DURATION),--duration '$(DURATION)') $(if $(CONNS),--conns '$(CONNS)') \
	$(if $(SEED),--seed '$(SEED)') $(if $(OUT),--out '$(OUT)')

# $(call firetower,COMMAND,ARGUMENTS)
firetower = code=0; $(FIRETOWER) $(1) $(2) $(ARGS) || code=$$?; \
	if [ $$code -ne 0 ]; then echo "firetower $(1): exit code $$code" >&2; fi; exit $$code

# $(call need,VARIABLE,USAGE)
need = if [ -z '$($(1))' ]; then echo "usage: make $(2)"; exit 2; fi

# Other people's servers are built when a run names one.
NAMES_PEER = $(foreach peer,centrifuge nats gws,$(findstring $(peer),$(VS) $(ARGS)))

## scenarios: list the scenarios, and what each needs of this machine
.PHONY: scenarios
scenarios: build
	@$(FIRETOWER) loadtest list

## loadtest: run SCENARIO and report (SCENARIO=10k-group)
##   RATE= DURATION= CONNS= SEED= override it; OUT= gets the run; ARGS='--set load.payload=1KiB'
##   REPEAT=5 runs it five times; VS=floor,classic,centrifuge,nats,gws has others take turns
##   DUET=1 VS=firetower@OLD runs both builds at once, with messages that take turns
.PHONY: loadtest
loadtest: build $(if $(strip $(NAMES_PEER)),peers)
	@if [ -z '$(SCENARIO)' ]; then \
		echo "usage: make loadtest SCENARIO=NAME; the scenarios are:"; $(FIRETOWER) loadtest list; exit 2; fi
	@$(call firetower,loadtest run,'$(SCENARIO)' $(OVERRIDES) $(if $(VS),--vs '$(VS)') $(if $(DUET),--duet) $(if $(REPEAT),--repeat '$(REPEAT)'))

## sweep: run SCENARIO under many settings (GRID='bucket.Num=1,2,4 bucket.ConsumerNum=1,32')
##   REPEAT= RATE= DURATION= CONNS= SEED= OUT=; ARGS='--design halving', '--resume FOLDER', '--dry-run'
.PHONY: sweep
sweep: build
	@$(call need,SCENARIO,sweep SCENARIO=NAME GRID='KEY=VALUE$(comma)VALUE ...'; see firetower sweep --help)
	@$(call firetower,sweep,'$(SCENARIO)' $(if $(GRID),--grid '$(GRID)') $(OVERRIDES) $(if $(REPEAT),--repeat '$(REPEAT)'))

## tune: search for the settings that do best under SCENARIO, and write them as a configuration
##   OBJECTIVE=server.cpu_us_per_delivery LIMIT='delivery.p99<50ms' BUDGET=20m GRID= RATE= CONNS= SEED= OUT=
##   ARGS='--resume FOLDER' goes on after a Ctrl-C, ARGS='--dry-run' tells the plan
.PHONY: tune
tune: build
	@$(call need,SCENARIO,tune SCENARIO=NAME; see firetower tune --help)
	@$(call firetower,tune,'$(SCENARIO)' $(if $(OBJECTIVE),--objective '$(OBJECTIVE)') $(if $(LIMIT),--subject-to '$(LIMIT)') \
		$(if $(BUDGET),--budget '$(BUDGET)') $(if $(GRID),--grid '$(GRID)') $(OVERRIDES))

## compare: judge one set of runs against another, exit code 97 on a regression (BASE= NEW=)
##   BASE= alone is a folder of targets that took turns; OUT= gets the page; ARGS='--band 3'
.PHONY: compare
compare: build
	@$(call need,BASE,compare BASE=RUNS [NEW=RUNS] [OUT=FOLDER]; see firetower report compare --help)
	@$(call firetower,report compare,'$(BASE)' $(if $(NEW),'$(NEW)') $(if $(OUT),--out '$(OUT)'))

## report: show what a run, a sweep or a search came to (RUN=reports/runs/latest)
.PHONY: report
report: build
	@$(call firetower,report show,$(RUN))

# Other people's servers as targets of a load test: a module of its own, whose dependencies
# are none of Firetower's.
PEERS := loadtest/peers

## peers: build .bin/peers, other people's servers as targets: centrifuge, centrifuge-batch, nats, gws
.PHONY: peers
peers: need-go
	@$(GO) -C $(PEERS) build -trimpath -o $(BIN)/peers .

##@ Machinery

## clean: remove what was built (tools included); runs and baselines stay
.PHONY: clean
clean:
	rm -rf $(BIN) $(TMP) core/client/foreign/node_modules

# Tools. A stamp carries the version and the Go release that built it, so that a changed pin
# or a newer Go builds the tool again and nothing else does.
GO_DIRS    = $(wildcard *.go) $(wildcard cmd config core simulator loadtest scenarios reports)
GO_RELEASE = $(shell $(GO) env GOVERSION 2>/dev/null)

# $(call go_tool,name,package,version)
define go_tool
.PHONY: tool-$(1)
tool-$(1): $(BIN)/.$(1)-$(3)-$(GO_RELEASE)
$(BIN)/.$(1)-$(3)-$(GO_RELEASE): | need-go
	@mkdir -p $(BIN)
	@echo "installing $(1) $(3)"
	GOBIN=$(BIN) GOFLAGS= $(GO) install $(2)@$(3)
	@rm -f $(BIN)/.$(1)-v*; touch $$@
endef

$(eval $(call go_tool,gofumpt,mvdan.cc/gofumpt,$(GOFUMPT_VERSION)))
$(eval $(call go_tool,golangci-lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION)))
$(eval $(call go_tool,benchstat,golang.org/x/perf/cmd/benchstat,$(BENCHSTAT_VERSION)))
$(eval $(call go_tool,buf,github.com/bufbuild/buf/cmd/buf,$(BUF_VERSION)))
$(eval $(call go_tool,protoc-gen-go,google.golang.org/protobuf/cmd/protoc-gen-go,$(PROTOC_GEN_GO_VERSION)))
$(eval $(call go_tool,protoc-gen-go-grpc,google.golang.org/grpc/cmd/protoc-gen-go-grpc,$(PROTOC_GEN_GO_GRPC_VERSION)))

## tools: install every pinned Go tool into .bin
.PHONY: tools
tools: tool-gofumpt tool-golangci-lint tool-benchstat tool-buf tool-protoc-gen-go tool-protoc-gen-go-grpc

# Prerequisites that no Go tool can install; each says what is missing and what to do.
.PHONY: need-go need-cc need-node need-chromium
need-go:
	@command -v $(GO) >/dev/null || { echo "make: Go is missing: install Go $$(sed -n 's/^go //p' go.mod) or newer from https://go.dev/dl"; exit 1; }

need-cc: need-go
	@cc="$$($(GO) env CC)"; command -v "$${cc%% *}" >/dev/null || { \
		echo "make: no C compiler ($$cc): the race detector needs one; on Debian: apt-get install gcc libc6-dev"; exit 1; }

need-node:
	@command -v node >/dev/null && command -v npm >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq nodejs npm; \
		else echo "make: node and npm are missing; on Debian: apt-get install nodejs npm"; exit 1; fi; }

need-chromium:
	@command -v chromium >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends chromium; \
		else echo "make: chromium is missing; on Debian: apt-get install chromium"; exit 1; fi; }
