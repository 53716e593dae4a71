# pnp-operator. `make help` lists the targets. `make demo` and `make test` need no preparation.
SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 20s
BIN := $(CURDIR)/bin
export CGO_ENABLED ?= 0
export GOFLAGS ?= -buildvcs=false

##@ See it work

.PHONY: demo
demo: bin/pnp-demo ## Play nine scenarios against a real API server and a simulated hub, check each step, clean up. 1 min.
	@bin/pnp-demo run

.PHONY: demo-up
demo-up: bin/pnp-demo ## Leave the demo running; bin/demo/env has the addresses. 1 min.
	@bin/pnp-demo up

.PHONY: demo-down
demo-down: bin/pnp-demo ## Stop the demo of demo-up.
	@bin/pnp-demo down

# Built rather than run by `go run`, which would not pass a signal on, and nothing would be cleaned up.
.PHONY: bin/pnp-demo bin/pnp-bench
bin/pnp-demo bin/pnp-bench: bin/pnp-%: prerequisites
	@go build -o $@ ./hack/$*

# The tests of the whole are Go tests, built rather than run by `go test` for the same reason. To run one: `go test -v ./test/e2e -run TestEndToEnd/NAME`.
WHOLE_TESTS := bin/e2e.test bin/chaos.test bin/cluster.test bin/engines.test bin/hostile.test
.PHONY: $(WHOLE_TESTS)
$(WHOLE_TESTS): bin/%.test: prerequisites
	@go test -vet=off -c -o $@ ./test/$*

.PHONY: dev
dev: bin/pnp-demo ## The demo with the operator rebuilt and restarted when a source changes, and its log here.
	@exec bin/pnp-demo dev

##@ Real pods

.PHONY: cluster
cluster: bin/pnp-demo ## Leave a real cluster of one node running in bin/cluster (needs root, containerd and runc).
	@bin/pnp-demo cluster

.PHONY: cluster-down
cluster-down: bin/pnp-demo ## Stop the cluster of cluster.
	@bin/pnp-demo cluster-down

.PHONY: cluster-test
cluster-test: bin/cluster.test ## Install the chart on two real nodes: rollouts, failures, upgrades. 4 min.
	@exec bin/cluster.test -test.run '^TestCluster$$'

##@ Test

# The integration tests wait more than they work: each process has an API server of its own. Reconcilers work on the objects of the cache; client-go panics there
# should one of them change such an object.
PROCESSES ?= 6

.PHONY: test
test: control-plane ## All unit and integration tests; the latter against a real API server and the simulator. 15 min.
	@hack/tools/build.sh helm
	@hack/tools/build.sh kustomize
	@hack/tools/build.sh kube-score
	@echo "test: unit and conformance tests: a dot for each package"
	@PNP_REQUIRE_TOOLS=1 go test $$(go list ./... | grep -v '/controllers$$') -count=1 -timeout 20m | hack/passes.sh
	@go test ./controllers -skip '^TestControllers$$' -count=1 | hack/passes.sh
	@cd hack/controlplane && go test ./cmd/controlplane ./dns -count=1 -timeout 10m | ../passes.sh
	@echo "test: integration tests: a dot for each of some 810, an S for each that make matrix runs"
	@KUBE_CACHE_MUTATION_DETECTOR=true go run github.com/onsi/ginkgo/v2/ginkgo -procs=$(PROCESSES) --no-color --timeout=40m ./controllers -- -test.run='^TestControllers$$'

# Without vet, which lint runs, and without -count=1: what did not change is not run again.
.PHONY: test-fast
test-fast: prerequisites ## All tests without an API server. 90 s.
	@go test -vet=off $$(go list ./... | grep -v '/controllers$$\|/test/chart$$\|/hack/') | hack/passes.sh
	@go test -vet=off ./controllers -skip '^TestControllers$$' | hack/passes.sh

# Each cell is a device: {property} x {what becomes of its declaration} x {what another writer does}, through 19 disturbances.
MATRIX ?= 1

.PHONY: matrix
matrix: control-plane ## Each kind of property, edit and other writer through 19 disturbances; MATRIX=all for every cell.
	@echo "matrix: a dot for each of 19 disturbances"
	PNP_MATRIX=$(MATRIX) go run github.com/onsi/ginkgo/v2/ginkgo -procs=$(PROCESSES) --no-color --timeout=60m --focus='Whatever keeps writes from going out' ./controllers -- -test.run='^TestControllers$$'

.PHONY: walk
walk: control-plane ## Visit every documented state, and write the output of kubectl into docs/operations.md.
	PNP_WALK=update go run github.com/onsi/ginkgo/v2/ginkgo -procs=$(PROCESSES) --no-color --timeout=60m --focus='The walk through all states' ./controllers -- -test.run='^TestControllers$$'

# vet would go through all of Kubernetes once more.
.PHONY: test-gitops
test-gitops: control-plane ## Run Argo CD's diff engine over each edit of the samples (a Go module of its own).
	cd test/gitops && GOWORK=off go test -vet=off ./... -count=1

SCENARIOS ?=

.PHONY: e2e
e2e: bin/e2e.test ## The chart with devices on Microsoft's SDK (needs node, npm); RECORD=FILE keeps the metrics. 2 min.
	@exec bin/e2e.test -test.run '^TestEndToEnd$$/$(SCENARIOS)'

# The GitOps engines are built once, into a folder of their own: a quarter of an hour of CPU.
ENGINES ?= flux argocd
ENGINE_TOOLS := $(if $(filter flux,$(ENGINES)),kustomize-controller source-controller) $(if $(filter argocd,$(ENGINES)),argocd)

.PHONY: engines
engines: prerequisites ## Build Flux and Argo CD for e2e-gitops; ENGINES=flux for one of them. 20 min, once.
	@for tool in $(ENGINE_TOOLS); do hack/tools/build.sh $$tool $(BIN)/gitops-tools; done

.PHONY: e2e-gitops
e2e-gitops: bin/engines.test ## The operator under Flux and Argo CD (needs redis-server); SCENARIOS='stop|model' selects.
	@ENGINES='$(ENGINES)' SCENARIOS='$(SCENARIOS)' exec bin/engines.test -test.run '^TestEngines$$'

REPLICAS ?= 1
DURATION ?= 4m
SEED ?=

.PHONY: chaos
chaos: DEVICES ?= 30
chaos: bin/chaos.test ## Random faults for DURATION, then compare status with the hub; DEVICES, REPLICAS, SEED. 5 to 12 min.
	@DEVICES=$(DEVICES) REPLICAS=$(REPLICAS) DURATION=$(DURATION) SEED=$(SEED) exec bin/chaos.test -test.run '^TestStorm$$'

COMMANDS ?= 10000
chaos-commands: DEVICES ?= 200

.PHONY: chaos-commands
chaos-commands: bin/chaos.test ## COMMANDS over DEVICES while operators die and answers are lost: no command runs twice.
	@COMMANDS=$(COMMANDS) DEVICES=$(DEVICES) REPLICAS=$(REPLICAS) SEED=$(SEED) exec bin/chaos.test -test.run '^TestStormOfCommands$$'

ATTACKS ?=
QUICK ?=

.PHONY: hostile
hostile: bin/hostile.test ## Attack the operator in 512 MiB while another tenant works; ATTACKS='model|sweep', QUICK=1.
	@ATTACKS='$(ATTACKS)' QUICK=$(QUICK) exec bin/hostile.test -test.run '^TestAttacks$$'

PART ?=
SIZES ?=
ROUNDS ?=

.PHONY: bench
bench: bin/pnp-bench ## Compare the operator with a bare loop, up to 10,000 devices; PART="change chain". 35 min.
	@PART="$(PART)" SIZES="$(SIZES)" ROUNDS=$(ROUNDS) bin/pnp-bench

.PHONY: bench-quick
bench-quick: bin/pnp-bench ## The same with a few hundred devices, as a test of the benchmark. 3 min.
	@PART="$(PART)" SIZES="$(SIZES)" ROUNDS=$(ROUNDS) QUICK=true bin/pnp-bench

.PHONY: alerts
alerts: ## Test the alert rules with promtool (Debian package prometheus).
	@command -v promtool >/dev/null || { echo "alerts: promtool is missing: install the Debian package prometheus" >&2; exit 1; }
	promtool check rules config/prometheus/alerts.yaml
	promtool test rules config/prometheus/alerts_test.yaml

.PHONY: soak
soak: bin/chaos.test ## 50 changes of the leader under load, chaos for 10 minutes each way, and soak-rbac. 55 min.
	@COMMANDS=2000 DEVICES=20 REPLICAS=2 CHANGES=50 SEED=$(SEED) bin/chaos.test -test.run '^TestStormOfCommands$$'
	@DEVICES=50 DURATION=10m REPLICAS=1 SEED=$(SEED) bin/chaos.test -test.run '^TestStorm$$'
	@DEVICES=50 DURATION=10m REPLICAS=2 SEED=$(SEED) bin/chaos.test -test.run '^TestStorm$$'
	@$(MAKE) soak-rbac

.PHONY: soak-rbac
soak-rbac: control-plane ## Remove each rule of the operator's roles in turn: a named test has to fail.
	@hack/tools/build.sh helm
	PNP_RBAC_DROP=1 go test ./controllers -count=1 -timeout 60m -v -ginkgo.v -ginkgo.no-color -ginkgo.focus 'The rights of the operator|costs nothing for foreign Secrets'

.PHONY: test-race
test-race: control-plane ## All tests with the race detector (needs a C compiler).
	CGO_ENABLED=1 go test -race ./... -count=1 -timeout 40m

.PHONY: fuzz
fuzz: prerequisites ## Run every fuzz target for FUZZTIME.
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: conformance
conformance: prerequisites ## Run Microsoft's clients against the simulator (needs port 443 of 127.0.0.2).
	@hack/conformance.sh

# What the program is told by flags; $(if ...) leaves out what is not given. Built rather than run by `go run`, which would not
# pass an interrupt on, and the device would stay.
HUBCHECK_FLAGS = --connection-string-file='$(CONNECTION_STRING_FILE)' \
	$(if $(EVENTS_CONNECTION_STRING_FILE),--events-connection-string-file='$(EVENTS_CONNECTION_STRING_FILE)') \
	$(if $(CONSUMER_GROUP),--consumer-group='$(CONSUMER_GROUP)') $(if $(FACTS),--only='$(FACTS)') \
	$(if $(SERVICE_ONLY),--service-only) $(if $(CONFIGURATION),--configuration) $(if $(THROTTLE),--throttle)

.PHONY: hubcheck
hubcheck: bin/hubcheck ## Compare a real hub with the expectations of the operator: CONNECTION_STRING_FILE=... (needs node, npm).
	@bin/hubcheck $(HUBCHECK_FLAGS)

.PHONY: bin/hubcheck
bin/hubcheck: prerequisites
	@go build -o $@ ./hack/hubcheck

.PHONY: hubcheck-simulator
hubcheck-simulator: prerequisites ## Compare the simulator with the same expectations (needs node, npm).
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "hubcheck-simulator: node or npm is missing: install the Debian packages nodejs and npm" >&2; exit 1; }
	PNP_HUBCHECK_SIMULATOR=1 go test ./hack/hubcheck -count=1 -parallel 16 -timeout 10m

##@ Check

.PHONY: verify
verify: generate lint ## Regenerate, lint, and fail if a file changed or is untracked. Run it after a commit.
	go mod tidy -diff
	@hack/verify-clean.sh

.PHONY: generate
generate: prerequisites ## Regenerate deepcopy code, CRDs and roles.
	@hack/generate.sh

.PHONY: lint
lint: prerequisites ## Run golangci-lint with the Kubernetes API linter, and actionlint over the workflows.
	@hack/tools/build.sh golangci-lint
	@hack/tools/build.sh actionlint
	$(BIN)/tools/golangci-lint run ./...
	$(BIN)/tools/actionlint

##@ Build

.PHONY: build
build: prerequisites ## Build the operator and the simulator into bin/.
	go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/manager .
	go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/iothub-simulator ./simulator/cmd/iothub-simulator

.PHONY: control-plane
control-plane: prerequisites ## Build etcd, kube-apiserver and kubectl into bin/k8s. 10 to 20 min, once.
	@hack/controlplane/build.sh

.PHONY: manifests
manifests: prerequisites ## Print all objects of an installation.
	@hack/tools/build.sh kustomize >&2
	@$(BIN)/tools/kustomize build config/default

IMAGE ?= pnp-operator:$(VERSION)
SIMULATOR_IMAGE ?= iothub-simulator:$(VERSION)
PLATFORMS ?= linux/amd64,linux/arm64
assemble = cd hack/image && GOWORK=off go run . -root=$(CURDIR) -platforms=$(PLATFORMS) $(if $(filter true,$(PUSH)),-push)

.PHONY: image
image: prerequisites ## Assemble the operator's image IMAGE for PLATFORMS without a container engine; PUSH=true pushes it.
	$(assemble) -of=operator -tag=$(IMAGE) -out=$(BIN)/image

.PHONY: simulator-image
simulator-image: prerequisites ## The same for the simulator's image SIMULATOR_IMAGE.
	$(assemble) -of=simulator -tag=$(SIMULATOR_IMAGE) -out=$(BIN)/simulator-image

.PHONY: docker-image
docker-image: ## Build both images with docker.
	docker build --build-arg VERSION=$(VERSION) -t $(IMAGE) .
	docker build -f simulator/Dockerfile -t $(SIMULATOR_IMAGE) .

.PHONY: test-image
test-image: prerequisites ## Build both images, push them to a registry inside the test, and check them.
	cd hack/image && GOWORK=off go test ./... -count=1

##@ Supply chain

.PHONY: sbom
sbom: build ## Write bills of materials (CycloneDX) of both images to bin/.
	@hack/tools/build.sh cyclonedx-gomod
	@for program in manager iothub-simulator; do \
		$(BIN)/tools/cyclonedx-gomod bin -json -licenses=false -version $(VERSION) -output $(BIN)/$$program.cdx.json $(BIN)/$$program; \
		echo "sbom: $(BIN)/$$program.cdx.json"; \
	done

.PHONY: vulncheck
vulncheck: prerequisites ## Search the called code for known vulnerabilities (needs the Go vulnerability database).
	@hack/tools/build.sh govulncheck
	@hack/vulncheck.sh

.PHONY: release-notes
release-notes: ## Print the section of CHANGELOG.md for VERSION (default: Unreleased).
	@hack/release-notes.sh $(if $(filter command line,$(origin VERSION)),$(VERSION))

##@ Housekeeping

.PHONY: pictures
pictures: prerequisites ## Draw the pictures of README.md (needs the Debian packages chromium and prometheus). 1 min.
	@hack/pictures.sh

.PHONY: clean
clean: ## Remove all built files.
	rm -rf $(BIN)

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "; printf "Usage: make <target>. Times: two cores, warm caches.\n"} \
		/^[a-zA-Z0-9_-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) }' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites:
	@command -v go >/dev/null || { echo "go is missing: install the Go toolchain that go.mod names" >&2; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: apt-get install git" >&2; exit 1; }
