#!/bin/sh
# Packs the extension: TARGET/editors/spelunk-go-VERSION.vsix, TARGET being the first argument. Prints its path.
set -eu
target=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)

node=$(sh "$here/../tests/setup/ensure-node.sh" "$target")
PATH=$node:$PATH

# The packer of VS Code's own makers, installed where it is in nobody's way.
vsce=$target/editors/vsce
mkdir -p "$vsce"
if ! cmp -s "$here/package-lock.json" "$vsce/installed"; then
    cp "$here/package.json" "$here/package-lock.json" "$vsce"
    npm ci --prefix "$vsce" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    cp "$here/package-lock.json" "$vsce/installed"
fi

# A folder with nothing but what belongs into the package.
stage=$target/editors/extension
rm -rf "$stage"
mkdir -p "$stage"
cp -r "$here/package.json" "$here/README.md" "$here/src" "$here/../../LICENSE" "$stage"
version=$(node -p 'require(process.argv[1]).version' "$stage/package.json")
out=$target/editors/spelunk-go-$version.vsix
rm -f "$out"
(cd "$stage" && "$vsce/node_modules/.bin/vsce" package --no-dependencies --allow-missing-repository --out "$out") >&2
echo "$out"
