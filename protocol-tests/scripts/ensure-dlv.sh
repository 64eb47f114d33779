#!/bin/sh
# Installs Delve 1.27.1, which comparisons need, under TARGET (first argument) with the `go` given second, unless it is installed.
# Never fails: without Delve those tests say `SKIP:` and the rest runs.
target=$1
go=$2
version=1.27.1

for dlv in "${SPELUNK_DLV:-}" "$(command -v dlv || true)" "$HOME/go/bin/dlv" "$target/toolchains/bin/dlv"; do
    if [ -n "$dlv" ] && [ -x "$dlv" ] && "$dlv" version 2>/dev/null | grep -q "Version: $version"; then
        exit 0
    fi
done

echo "installing dlv $version into $target/toolchains/bin" >&2
mkdir -p "$target/toolchains/bin"
# A network that swallows packets would hold this up for ever.
GOBIN=$(cd "$target/toolchains/bin" && pwd) GOFLAGS=-mod=mod timeout 600 "$go" install "github.com/go-delve/delve/cmd/dlv@v$version" >&2 ||
    echo "dlv $version could not be installed; comparisons with it will be skipped" >&2
exit 0
