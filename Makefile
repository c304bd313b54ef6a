# `make help` lists the verbs.
#
# One target folder outside the checkout, so that RocksDB (a quarter of an hour on two cores) is compiled once a
# machine; CARGO_TARGET_DIR overrides it. One profile (dev: optimised, with assertions) serves tests, demo and bench.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/tercet/target
BIN := $(CARGO_TARGET_DIR)/debug
# The programs that tests and proofs start as processes of their own.
export TERCETD ?= $(BIN)/tercetd
export TERCET ?= $(BIN)/tercet
# What the proofs with real processes measured; printed after the tests, because cargo hides what passing tests print.
export MEASURED ?= $(CARGO_TARGET_DIR)/measured.txt
# The simulation has flags of its own, hence a target folder of its own: nothing else is built again because of it.
SIM := CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/sim RUSTFLAGS="--cfg tercet_sim --cfg tokio_unstable" cargo
SEED ?= 1
N ?= 100
FROM ?= 1
# Nothing hangs for ever: these stop a run, building not included.
TEST_TIME_MAX ?= 45m
DEMO_TIME_MAX ?= 5m
BENCH_TIME_MAX ?= 30m
CONFORMANCE_TIME_MAX ?= 40m

# Says how long a build took: the first one compiles RocksDB.
BUILD_TIMED := build_timed() { begin=$$(date +%s); "$$@" && echo "built in $$(($$(date +%s) - begin)) s"; }; build_timed

# What is measured is built as it is installed, without the checks that tests run with.
UNCHECKED := $(foreach of,dev dev.package.openraft dev.package.quorum-set,--config profile.$(of).debug-assertions=false --config profile.$(of).overflow-checks=false)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test verify fix bench bench-apply bench-fair bench-log bench-catchup bench-overload bench-unary bench-consume bench-flush bench-gap bench-idle bench-calm bench-restart conformance sim sim-many broker-sim sim-sensitivity sim-test

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: system deny ## install what this system lacks (compiler, libclang, cargo-deny); says what it does

# What every build needs. cargo-deny is not among it: only `make verify` asks for that.
.PHONY: system deny
system:
	@scripts/setup.sh

deny: system
	@scripts/cargo-deny.sh

build: system ## tercetd, tercet and the programs that prove them
	@$(BUILD_TIMED) cargo build --locked --workspace --features tercet-client/cli --bins

demo: build ## publish a real text, kill the leader, prove every acknowledged line
	@timeout --kill-after=10s $(DEMO_TIME_MAX) $(BIN)/demo

test: build ## all tests, real processes included
	@$(BUILD_TIMED) cargo test --locked --workspace --features tercet-client/cli --no-run
	@: > $(MEASURED)
	@timeout --kill-after=10s $(TEST_TIME_MAX) cargo test --locked --workspace --features tercet-client/cli
	@$(MAKE) --no-print-directory sim-test
	@printf '\nWhat the tests with killed processes measured:\n'; cat $(MEASURED)

verify: setup ## format, lints, circles of files, the client's face, docs, licences, lock file; never writes the tree
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets --features tercet-client/cli -- -D warnings
	@$(SIM) clippy --locked -p raft-log -p simulation --all-targets -- -D warnings
	@cargo run --quiet --locked -p checks -- circles
	@$(MAKE) --no-print-directory public-face
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --features tercet-client/cli
	@cargo deny --locked check licenses bans sources
	@scripts/advisories.sh
	@if git rev-parse --git-dir >/dev/null 2>&1; then git diff --exit-code --stat -- Cargo.lock; fi

# A text that stands beside the client, so that a review sees what changes for its users.
.PHONY: public-face
public-face: ## what the Rust client shows is what client/public-face.txt says (AGREE=1 writes it anew)
	@RUSTDOC=$(CURDIR)/scripts/rustdoc-json.sh cargo rustdoc --quiet --locked -p tercet-client --lib -- -Z unstable-options --output-format json
	@cargo run --quiet --locked -p checks -- public-face $(CARGO_TARGET_DIR)/doc/tercet_client.json client/public-face.txt $(if $(AGREE),--agree)

fix: system ## format and apply what clippy can mend
	@cargo fmt --all
	@cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets --features tercet-client/cli

sim: system ## one seed of the deterministic simulation (SEED=n; SIM_STORY=1 tells what happens)
	@$(SIM) run --quiet --locked -p simulation -- run $(SEED)

sim-many: system ## many seeds on all cores (N=n, FROM=seed)
	@$(SIM) run --quiet --locked -p simulation -- many $(N) $(FROM)

# Without N it is one seed.
broker-sim: system ## the broker's state machine in a simulated group, under faults (SEED=n; N=count: that many seeds)
	@BROKER_SIM_SEED=$(SEED) BROKER_SIM_N=$(if $(filter file,$(origin N)),1,$(N)) \
		cargo test --quiet --locked --workspace --features tercet-client/cli --lib -- --ignored --exact simulation::tests::asked_for --nocapture

sim-sensitivity: system ## plants bugs, one at a time, and counts the seeds until each is found
	@$(SIM) run --quiet --locked -p simulation -- sensitivity

# The tests of raft-log that plant bugs themselves. A name that no test has would pass in silence, hence the count.
PLANTED_TESTS := planted::each_rule_that_is_undone_is_missed_by_its_test \
	storage::io::preparing::tests::without_a_file_of_its_own_the_error_of_the_zeroes_is_lost

sim-test: system
	@$(SIM) test --locked -p simulation
	@there=$$($(SIM) test --locked -p raft-log --lib --test storage_suite -- --exact --list $(PLANTED_TESTS) | grep -c ': test$$'); \
		[ "$$there" = $(words $(PLANTED_TESTS)) ] || { echo "of the tests that plant bugs ($(PLANTED_TESTS)), $$there exist" >&2; exit 1; }
	@$(SIM) test --locked -p raft-log --lib --test storage_suite -- --exact $(PLANTED_TESTS)

bench: system ## rates and latencies of a three-node group on this machine (CEILING=program compares with a yardstick)
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/bench

.PHONY: single-fault
single-fault: system ## flip one bit in every byte of every file of a replica, one at a time; prints what came of it
	@SINGLE_FAULT_EVERY_BYTE=1 cargo test --locked -p raft-log --lib single_fault -- --nocapture

bench-overload: system ## what acknowledgements take while TIMES=16 times as much is published as fits; at most 50 ms (p99), none twice
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/bench --seconds 20 --overload $(or $(TIMES),16)

bench-flush: system ## what state flushes and checkpoints add to the publish p99 at half of the maximum rate
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/flush $(FLUSH_ARGS)

bench-apply: system ## what the state machine costs by itself; longest steps, start, memory (APPLY_ARGS=longest: a part)
	@cargo build --locked --workspace --features tercet-client/cli --example apply_bench $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/examples/apply_bench $(APPLY_ARGS)

bench-fair: system ## publish p99 beside a drain of GIB=2 of backlog; a burst for 10,000 waiting receivers (FAIR_ARGS=burst: a part)
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/fair --gib $(or $(GIB),2) $(FAIR_ARGS)

bench-unary: system ## what a call of official clients costs the leader: us for each publish, and for each message consumed
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/unary $(UNARY_ARGS)

bench-consume: system ## how fast a consumer group goes through a backlog and follows publishers; how long a waiting one waits
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/consume $(CONSUME_ARGS)

bench-idle: system ## what 10,000 consumers cost that have nothing to do; how soon a fail-over reaches them (IDLE_ARGS)
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/idle $(IDLE_ARGS)

bench-log: system ## the replicated log alone, three replicas in one process (CEILING=program compares with a yardstick)
	@cargo build --locked -p raft-log --example bench $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/examples/bench compare

bench-gap: system ## publish gaps over EVENTS=50 lost and replaced leaders of each kind; needs root (network namespaces)
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@unshare -n $(BIN)/gap --events $(or $(EVENTS),50) $(GAP_ARGS)

bench-calm: system ## elections without cause in MINUTES=10 with all cores saturated by publishers; needs root
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@unshare -n $(BIN)/calm --minutes $(or $(MINUTES),10) $(CALM_ARGS)

bench-restart: system ## time to ready of a restarted node with GIB=10 of log (needs 9 GiB more than three times as much disk)
	@cargo build --locked --workspace --features tercet-client/cli --bins $(UNCHECKED)
	@timeout --kill-after=10s $(BENCH_TIME_MAX) $(BIN)/restart --gib $(or $(GIB),10) $(RESTART_ARGS)

# One arena: each replica has threads of its own, whose arenas would keep what an ended replica freed.
bench-catchup: system ## what publishing keeps while a follower, behind or wiped, catches up with 5 GiB (needs 45 GiB of disk)
	@MALLOC_ARENA_MAX=1 cargo run --locked -p raft-log --example bench $(UNCHECKED) -- catchup --gib 5 --segment-mb 256 --keep-mb 5200

conformance: build ## the official RocketMQ 5 clients in five languages against a group whose leader is killed
	@timeout --kill-after=10s $(CONFORMANCE_TIME_MAX) $(BIN)/conformance
