#!/usr/bin/env bash
# Installs what the build needs and this system lacks, and says what it does. On Debian and Ubuntu through apt;
# elsewhere it prints what to install. Does nothing when everything is there.
set -euo pipefail

# What is needed, why, and how to see that it is there.
missing=()
need() { # package, test
  if ! eval "$2" >/dev/null 2>&1; then missing+=("$1"); fi
}
need build-essential 'command -v cc && command -v c++ && command -v make'
need libclang-dev 'find /usr/lib /usr/lib64 -name "libclang*.so*" 2>/dev/null | grep -q .'
need clang 'command -v clang'
need git 'command -v git'
need curl 'command -v curl'
need ca-certificates 'test -e /etc/ssl/certs/ca-certificates.crt'

if [ ${#missing[@]} -gt 0 ]; then
  if command -v apt-get >/dev/null 2>&1; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then sudo="sudo"; fi
    echo "setup: installing ${missing[*]} (a C++ compiler and libclang build RocksDB and its bindings)"
    $sudo apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
  else
    {
      echo "setup: this system has no apt-get; please install with its own package tool:"
      echo "  - a C and C++ compiler, make            (builds RocksDB)"
      echo "  - clang and libclang, version 11 or up  (makes RocksDB's bindings)"
      echo "  - git, curl, CA certificates"
      echo "missing here, by their Debian names: ${missing[*]}"
    } >&2
    exit 1
  fi
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo "setup: Rust is missing; install rustup from https://rustup.rs and run this again" >&2
  exit 1
fi
# rust-toolchain.toml names the compiler; rustup fetches it when it is not there yet.
wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$(dirname "$0")/../rust-toolchain.toml")
if ! rustc --version >/dev/null 2>&1; then
  echo "setup: installing Rust $wanted with clippy and rustfmt"
  rustup toolchain install "$wanted" --profile minimal --component clippy --component rustfmt
fi
echo "setup: everything is there ($(rustc --version))"
