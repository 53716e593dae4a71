# pnp-operator. `make help` lists the targets; `make demo` and `make test` need nothing done by hand before.
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
demo: bin/pnp-demo ## Run the main job against a real API server and a simulated hub, assert every step, clean up.
	@bin/pnp-demo run

.PHONY: demo-up
demo-up: bin/pnp-demo ## Leave the demo running; bin/demo/env says how to reach it.
	@bin/pnp-demo up

.PHONY: demo-down
demo-down: bin/pnp-demo ## Stop what demo-up started.
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

##@ Real pods

.PHONY: cluster
cluster: bin/pnp-demo ## Leave a real cluster of one node running in bin/cluster, in namespaces of its own (needs root, and Debian's containerd and runc).
	@bin/pnp-demo cluster

.PHONY: cluster-down
cluster-down: bin/pnp-demo ## Stop what cluster started.
	@bin/pnp-demo cluster-down

.PHONY: cluster-test
cluster-test: bin/cluster.test ## Install the chart in a cluster of two nodes, and see what becomes of its pods: rollouts, failures, upgrades. A line a step; 4 minutes.
	@exec bin/cluster.test -test.run '^TestCluster$$'

##@ Test

# The integration tests wait more than they work: each process has an API server of its own. Reconcilers work on the objects of the cache; client-go panics there
# should one of them change such an object.
PROCESSES ?= 6

.PHONY: test
test: control-plane ## Unit and integration tests, the latter against a real API server and the simulator.
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
test-fast: prerequisites ## All tests that need no API server, within 90 s on two cores.
	@go test -vet=off $$(go list ./... | grep -v '/controllers$$\|/test/chart$$\|/hack/') | hack/passes.sh
	@go test -vet=off ./controllers -skip '^TestControllers$$' | hack/passes.sh

# Each cell is a device: {property} x {what becomes of its declaration} x {what another writer does}, through 19 disturbances.
MATRIX ?= 1

.PHONY: matrix
matrix: control-plane ## Every kind of property, edit and other writer meets whatever keeps writes from going out; MATRIX=all for every cell in both dialects.
	@echo "matrix: a dot for each of 19 disturbances"
	PNP_MATRIX=$(MATRIX) go run github.com/onsi/ginkgo/v2/ginkgo -procs=$(PROCESSES) --no-color --timeout=60m --focus='Whatever keeps writes from going out' ./controllers -- -test.run='^TestControllers$$'

.PHONY: walk
walk: control-plane ## Walk through every state of every kind, and write what kubectl says in each into docs/operations.md.
	PNP_WALK=update go run github.com/onsi/ginkgo/v2/ginkgo -procs=$(PROCESSES) --no-color --timeout=60m --focus='The walk through all states' ./controllers -- -test.run='^TestControllers$$'

# vet would go through all of Kubernetes once more.
.PHONY: test-gitops
test-gitops: control-plane ## Ask Argo CD's own diff engine whether it sees each edit of the samples (a Go module of its own).
	cd test/gitops && GOWORK=off go test -vet=off ./... -count=1

SCENARIOS ?=

.PHONY: e2e
e2e: bin/e2e.test ## End-to-end tests of a release of the chart with devices on Microsoft's device SDK (needs node and npm); RECORD=FILE keeps the metrics.
	@exec bin/e2e.test -test.run '^TestEndToEnd$$/$(SCENARIOS)'

# The GitOps engines are built once, into a folder of their own: a quarter of an hour of CPU.
ENGINES ?= flux argocd
ENGINE_TOOLS := $(if $(filter flux,$(ENGINES)),kustomize-controller source-controller) $(if $(filter argocd,$(ENGINES)),argocd)

.PHONY: engines
engines: prerequisites ## Build Flux's controllers and Argo CD for e2e-gitops; ENGINES=flux for one of the two.
	@for tool in $(ENGINE_TOOLS); do hack/tools/build.sh $$tool $(BIN)/gitops-tools; done

.PHONY: e2e-gitops
e2e-gitops: bin/engines.test ## The operator under Flux and Argo CD (which needs redis-server); SCENARIOS='stop|model' plays some.
	@ENGINES='$(ENGINES)' SCENARIOS='$(SCENARIOS)' exec bin/engines.test -test.run '^TestEngines$$'

REPLICAS ?= 1
DURATION ?= 4m
SEED ?=

.PHONY: chaos
chaos: DEVICES ?= 30
chaos: bin/chaos.test ## Everything goes wrong at random for DURATION over DEVICES, with REPLICAS; then status has to say what the hub holds. SEED repeats one.
	@DEVICES=$(DEVICES) REPLICAS=$(REPLICAS) DURATION=$(DURATION) SEED=$(SEED) exec bin/chaos.test -test.run '^TestStorm$$'

COMMANDS ?= 10000
chaos-commands: DEVICES ?= 200

.PHONY: chaos-commands
chaos-commands: bin/chaos.test ## Run COMMANDS over DEVICES while the operator is killed (with REPLICAS=2: its leader changed) and answers are lost; no command may run twice.
	@COMMANDS=$(COMMANDS) DEVICES=$(DEVICES) REPLICAS=$(REPLICAS) SEED=$(SEED) exec bin/chaos.test -test.run '^TestStormOfCommands$$'

ATTACKS ?=
QUICK ?=

.PHONY: hostile
hostile: bin/hostile.test ## Attack the operator in 512 MiB of memory while another tenant works; ATTACKS='model|sweep' plays some, QUICK=1 leaves long ones out.
	@ATTACKS='$(ATTACKS)' QUICK=$(QUICK) exec bin/hostile.test -test.run '^TestAttacks$$'

PART ?=
SIZES ?=
ROUNDS ?=

.PHONY: bench
bench: bin/pnp-bench ## Measure the operator against a bare loop, with up to 10,000 devices; PART="change chain" measures parts alone. About 35 minutes.
	@PART="$(PART)" SIZES="$(SIZES)" ROUNDS=$(ROUNDS) bin/pnp-bench

.PHONY: bench-quick
bench-quick: bin/pnp-bench ## The same with a few hundred devices, within 3 minutes: it shows that everything works.
	@PART="$(PART)" SIZES="$(SIZES)" ROUNDS=$(ROUNDS) QUICK=true bin/pnp-bench

.PHONY: alerts
alerts: ## Test the alert rules with promtool (Debian package prometheus).
	@command -v promtool >/dev/null || { echo "alerts: promtool is missing: install the Debian package prometheus" >&2; exit 1; }
	promtool check rules config/prometheus/alerts.yaml
	promtool test rules config/prometheus/alerts_test.yaml

.PHONY: soak
soak: bin/chaos.test ## 50 changes of the leader under load: killed, terminated, paused past its lease; chaos for 10 minutes each way; and soak-rbac. Takes about 55 minutes.
	@COMMANDS=2000 DEVICES=20 REPLICAS=2 CHANGES=50 SEED=$(SEED) bin/chaos.test -test.run '^TestStormOfCommands$$'
	@DEVICES=50 DURATION=10m REPLICAS=1 SEED=$(SEED) bin/chaos.test -test.run '^TestStorm$$'
	@DEVICES=50 DURATION=10m REPLICAS=2 SEED=$(SEED) bin/chaos.test -test.run '^TestStorm$$'
	@$(MAKE) soak-rbac

.PHONY: soak-rbac
soak-rbac: control-plane ## Drop each rule of the operator's roles in turn: something that is named has to fail; and have 10,000 foreign Secrets cost nothing.
	@hack/tools/build.sh helm
	PNP_RBAC_DROP=1 go test ./controllers -count=1 -timeout 60m -v -ginkgo.v -ginkgo.no-color -ginkgo.focus 'The rights of the operator|costs nothing for foreign Secrets'

.PHONY: test-race
test-race: control-plane ## The same with the race detector (needs a C compiler).
	CGO_ENABLED=1 go test -race ./... -count=1 -timeout 40m

.PHONY: fuzz
fuzz: prerequisites ## Run every fuzz target for FUZZTIME (default 20s).
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: conformance
conformance: prerequisites ## Hold the simulator against Microsoft's clients: Python's and the Azure CLI's words, Go's live tests (needs port 443 of 127.0.0.2).
	@hack/conformance.sh

# What the program is told by flags; $(if ...) leaves out what is not given. Built rather than run by `go run`, which would not
# pass an interrupt on, and the device would stay.
HUBCHECK_FLAGS = --connection-string-file='$(CONNECTION_STRING_FILE)' \
	$(if $(EVENTS_CONNECTION_STRING_FILE),--events-connection-string-file='$(EVENTS_CONNECTION_STRING_FILE)') \
	$(if $(CONSUMER_GROUP),--consumer-group='$(CONSUMER_GROUP)') $(if $(FACTS),--only='$(FACTS)') \
	$(if $(SERVICE_ONLY),--service-only) $(if $(CONFIGURATION),--configuration) $(if $(THROTTLE),--throttle)

.PHONY: hubcheck
hubcheck: bin/hubcheck ## Compare what is believed of IoT Hub with a real one: CONNECTION_STRING_FILE=..., EVENTS_CONNECTION_STRING_FILE=... (needs node and npm: Debian packages nodejs, npm).
	@bin/hubcheck $(HUBCHECK_FLAGS)

.PHONY: bin/hubcheck
bin/hubcheck: prerequisites
	@go build -o $@ ./hack/hubcheck

.PHONY: hubcheck-simulator
hubcheck-simulator: prerequisites ## The same with the simulator: all facts hold there, and tell both positions of each of its switches apart (needs node and npm).
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "hubcheck-simulator: node or npm is missing: install the Debian packages nodejs and npm" >&2; exit 1; }
	PNP_HUBCHECK_SIMULATOR=1 go test ./hack/hubcheck -count=1 -parallel 16 -timeout 10m

##@ Check

.PHONY: verify
verify: generate lint ## Regenerate and lint; fails if that changes a file or leaves an untracked one.
	go mod tidy -diff
	@hack/verify-clean.sh

.PHONY: generate
generate: prerequisites ## Regenerate deepcopy code, CRDs and the role.
	@hack/generate.sh

.PHONY: lint
lint: prerequisites ## Run golangci-lint, with the Kubernetes API linter over api/.
	@hack/tools/build.sh golangci-lint
	$(BIN)/tools/golangci-lint run ./...

##@ Build

.PHONY: build
build: prerequisites ## Build the operator and the simulator into bin/.
	go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/manager .
	go build -trimpath -ldflags "$(LDFLAGS)" -o $(BIN)/iothub-simulator ./simulator/cmd/iothub-simulator

.PHONY: control-plane
control-plane: prerequisites ## Build etcd, kube-apiserver, kube-controller-manager and kubectl into bin/k8s, once.
	@hack/controlplane/build.sh

.PHONY: manifests
manifests: prerequisites ## Print everything that an installation applies.
	@hack/tools/build.sh kustomize >&2
	@$(BIN)/tools/kustomize build config/default

IMAGE ?= pnp-operator:$(VERSION)
SIMULATOR_IMAGE ?= iothub-simulator:$(VERSION)
PLATFORMS ?= linux/amd64,linux/arm64
assemble = cd hack/image && GOWORK=off go run . -root=$(CURDIR) -platforms=$(PLATFORMS) $(if $(filter true,$(PUSH)),-push)

.PHONY: image
image: prerequisites ## Assemble the operator's container image IMAGE for PLATFORMS in bin/image, without a container engine; PUSH=true pushes it.
	$(assemble) -of=operator -tag=$(IMAGE) -out=$(BIN)/image

.PHONY: simulator-image
simulator-image: prerequisites ## The same for the simulator's SIMULATOR_IMAGE, in bin/simulator-image.
	$(assemble) -of=simulator -tag=$(SIMULATOR_IMAGE) -out=$(BIN)/simulator-image

.PHONY: docker-image
docker-image: ## Build both images with docker.
	docker build --build-arg VERSION=$(VERSION) -t $(IMAGE) .
	docker build -f simulator/Dockerfile -t $(SIMULATOR_IMAGE) .

.PHONY: test-image
test-image: prerequisites ## Build both images for this machine, push them to a registry within the test, and look into them.
	cd hack/image && GOWORK=off go test ./... -count=1

##@ Supply chain

.PHONY: sbom
sbom: build ## Write bills of materials (CycloneDX) of what the two images run to bin/manager.cdx.json and bin/iothub-simulator.cdx.json.
	@hack/tools/build.sh cyclonedx-gomod
	@for program in manager iothub-simulator; do \
		$(BIN)/tools/cyclonedx-gomod bin -json -licenses=false -version $(VERSION) -output $(BIN)/$$program.cdx.json $(BIN)/$$program; \
		echo "sbom: $(BIN)/$$program.cdx.json"; \
	done

.PHONY: vulncheck
vulncheck: prerequisites ## Look for known vulnerabilities in what the code calls (needs the Go vulnerability database).
	@hack/tools/build.sh govulncheck
	@hack/vulncheck.sh

.PHONY: release-notes
release-notes: ## Print what CHANGELOG.md has on VERSION (X.Y.Z, Unreleased unless given).
	@hack/release-notes.sh $(if $(filter command line,$(origin VERSION)),$(VERSION))

##@ Housekeeping

.PHONY: clean
clean: ## Remove what was built.
	rm -rf $(BIN)

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make <target>\n"} \
		/^[a-zA-Z_-]+:.*?##/ { printf "  %-15s %s\n", $$1, $$2 } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) }' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites:
	@command -v go >/dev/null || { echo "go is missing: install the Go toolchain that go.mod names" >&2; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: apt-get install git" >&2; exit 1; }
