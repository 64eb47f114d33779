#!/bin/sh
# Prints the folder of VS Code's server, unpacked under TARGET (first argument) from npm's `code-server`, which carries it whole. It runs with
# plain Node.js and opens in a browser. Node.js must be in PATH.
set -eu
target=$1
version=4.96.4
home=$target/editors/vscode-$version

if [ -e "$home/complete" ]; then
    echo "$home"
    exit 0
fi
echo "fetching VS Code (code-server $version) into $home" >&2
rm -rf "$home"
mkdir -p "$home"
{
    cd "$home"
    npm pack --silent "code-server@$version" &&
        tar xzf "code-server-$version.tgz" --strip-components=3 package/lib/vscode &&
        rm "code-server-$version.tgz" &&
        # One dependency is pinned to a place other than the registry, which has the same version.
        node -e '
            const fs = require("fs");
            const lock = JSON.parse(fs.readFileSync("npm-shrinkwrap.json"));
            for (const entry of Object.values(lock.packages)) {
                if (entry.resolved?.startsWith("git")) { delete entry.resolved; delete entry.integrity; }
            }
            fs.writeFileSync("npm-shrinkwrap.json", JSON.stringify(lock));' &&
        npm install --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
} >&2 || {
    echo "VS Code could not be fetched with npm (code-server@$version)" >&2
    exit 77
}
# What a Go file does not need makes the page slow to open.
find extensions -mindepth 1 -maxdepth 1 ! -name go ! -name theme-defaults ! -name theme-seti ! -name package.json -exec rm -rf {} +
find . -name '*.map' -delete
rm -rf node_modules/node-pty/third_party node_modules/@vscode/windows-*
# The terminal is the one part that has to be built. Without a C++ compiler, or without Node.js's headers, there is none.
prefix=$(dirname "$(dirname "$(command -v node)")")
if [ ! -e "$prefix/include/node/node_api.h" ] ||
    ! (cd node_modules/node-pty && npx --yes node-gyp@11.2.0 rebuild --silent "--nodedir=$prefix") >&2; then
    echo "VS Code's terminal could not be built; what needs it will be skipped" >&2
fi
# Nothing is looked up in a marketplace.
node -e '
    const fs = require("fs");
    const product = JSON.parse(fs.readFileSync("product.json"));
    delete product.extensionsGallery;
    fs.writeFileSync("product.json", JSON.stringify(product));'
touch complete
echo "$home"
