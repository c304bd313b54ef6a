#!/usr/bin/env bash
# Installs cargo-deny once a machine, so that `make verify` always checks licences, bans and sources. Built without
# optimisations, which takes two or three minutes instead of ten; it runs for a second.
set -euo pipefail
version=0.20.2
if cargo deny --version 2>/dev/null | grep -qF " $version"; then exit 0; fi
echo "setup: installing cargo-deny $version (checks licences, bans and sources of the dependencies)"
env -u CARGO_TARGET_DIR cargo install --quiet --locked --debug --version "$version" cargo-deny
