#!/bin/sh
# Prints the path of an HTTP load generator: wrk, else hey, installed under TARGET (first argument) with the `go` given second.
target=$1
go=$2

for program in "$(command -v wrk || true)" "$(command -v hey || true)" "$target/toolchains/bin/hey"; do
    if [ -n "$program" ] && [ -x "$program" ]; then
        echo "$program"
        exit 0
    fi
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends wrk >&2; then
    command -v wrk && exit 0
fi
mkdir -p "$target/toolchains/bin"
GOBIN=$(cd "$target/toolchains/bin" && pwd) timeout 600 "$go" install github.com/rakyll/hey@v0.1.4 >&2 && echo "$target/toolchains/bin/hey"
exit 0
