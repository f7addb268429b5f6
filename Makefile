# What CI runs is `make test`; `bash .ci/run` installs system packages first.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
FUZZTIME ?= 10s
TEST_TIMEOUT ?= 25m

# Tools run at a fixed version, outside go.mod: their dependencies are not ours.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# Packages that run no foreign program: the race detector is worth its cost here.
RACE_PACKAGES := ./gate/trace ./gate/metric ./gate/spec ./gate ./gate/cli ./report/... ./baseline ./baseline/golden ./baseline/ledger ./baseline/store

.PHONY: build setup vet test unit test-race zoo lint gofmt staticcheck govulncheck actionlint fuzz docs pictures bench clean

build: ## the program, in bin/
	$(GO) build -trimpath -ldflags '-X github.com/paritygate/paritygate/gate/cli.version=$(VERSION)' -o bin/paritygate .

setup: ## what tests need, in the cache folder: engines, models, a Docker daemon with its images, act
	bash testdata/docker/setup.sh
	bash testdata/engines/install.sh
	bash testdata/engines/torch.sh
	bash testdata/zoo/setup.sh
	bash report/github/githubtest/testdata/emulate/install.sh

vet:
	$(GO) vet ./...

test: lint unit test-race zoo ## everything: linters, every test, the planted bugs, short fuzzing, the pictures; nothing is skipped
	$(MAKE) fuzz FUZZTIME=3s
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; bash testdata/pictures/render.sh "$$dir"

unit: setup ## every test of every package
	$(GO) test -count=1 -timeout $(TEST_TIMEOUT) ./...

test-race: ## the packages in pure Go, under the race detector; what runs a foreign engine runs in unit
	$(GO) test -race -count=1 -timeout $(TEST_TIMEOUT) -skip '^Test(Engines|Transformers|RandomFaults$$|CommentEachFault|BothBackends)' $(RACE_PACKAGES)

lint: gofmt vet staticcheck actionlint govulncheck

gofmt:
	@files=$$(git ls-files -z '*.go' | xargs -0 -r gofmt -l); \
	if [ -n "$$files" ]; then echo "not gofmt-ed:"; echo "$$files"; exit 1; fi

staticcheck:
	$(GO) run $(STATICCHECK) ./...

actionlint:
	$(GO) run $(ACTIONLINT)

# An unreachable database is said and passed over; a vulnerability that is
# called, and any other failure, is not.
govulncheck:
	@out=$$(mktemp); trap 'rm -f "$$out"' EXIT; \
	if $(GO) run $(GOVULNCHECK) ./... >"$$out" 2>&1; then cat "$$out"; \
	elif grep -qE 'fetching vulnerabilities|dial tcp|no such host|connection refused|HTTP GET .*vuln' "$$out"; then \
		echo "govulncheck: the vulnerability database cannot be reached from here, nothing was checked"; \
	else cat "$$out"; exit 1; fi

fuzz: ## each fuzz target for FUZZTIME
	GO=$(GO) bash .ci/fuzz $(FUZZTIME)

docs: ## docs/cli.md, from the commands themselves
	$(GO) test ./gate/cli -run '^TestDocs$$' -update

pictures: ## the README's pictures of the comment, drawn by a browser
	bash testdata/pictures/render.sh

zoo: setup ## planted bugs: caught, placed, false alarms, beside other tools' rules
	@py=$$(bash testdata/zoo/setup.sh); dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$$py testdata/zoo/forward.py --selftest && \
	$$py testdata/zoo/generate.py --split test --out "$$dir" && \
	$$py testdata/zoo/peers.py "$$dir" >/dev/null && \
	$(GO) run ./testdata/zoo/judge -split test -oracle testdata/zoo -check "$$dir"

bench: ## speed and memory, each beside its goal; BENCH=quick only shows that it works
	bash testdata/bench/bench.sh $(BENCH)
	$(GO) run ./testdata/bench/baseline $(if $(filter quick,$(BENCH)),-most 100 -runs 1)
	$(if $(filter quick,$(BENCH)),,$(GO) run ./testdata/bench/oracle -python "$$(bash testdata/engines/torch.sh)")

clean:
	rm -rf bin
