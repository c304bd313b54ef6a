#!/usr/bin/env bash
# Checks the dependencies against the advisory database, where it can be reached; says so where it cannot.
set -euo pipefail
if timeout 60 cargo deny --locked fetch db >/dev/null 2>&1; then
  exec cargo deny --locked check --disable-fetch advisories
fi
echo "verify: the advisory database could not be reached; advisories were not checked"
