#!/bin/sh
# rustdoc whose JSON output, which is not stable, may be asked for. The toolchain is pinned, and so is what reads it.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
