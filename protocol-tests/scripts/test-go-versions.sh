#!/bin/sh
# Runs the suites of traces, logpoints, stops, values and calls with each minor version of Go that is supported. TARGET is the first argument; versions may follow.
set -eu
target=$1
shift
[ $# -gt 0 ] || set -- 1.21.13 1.22.10 1.23.9 1.24.11 1.25.5 1.26.6 1.27.3

failed=
for version in "$@"; do
    go=$(sh "$(dirname "$0")/ensure-go.sh" "$target" "$version")
    echo "== $("$go" version)"
    SPELUNK_GO=$go cargo test --quiet -p protocol-tests --test all -- trace_ dap_logpoints dap_stopping values calling || failed="$failed $version"
done
[ -z "$failed" ] || { echo "failed with Go$failed"; exit 1; }
