#!/bin/sh
# Plays a debugging session in each editor that can be had on this machine, and says in a table what ran, what did not and why.
#
#   SPELUNK_BIN=/path/to/spelunk sh editors/tests/run.sh TARGET [SUITE...]
#
# TARGET is cargo's target folder: what is fetched is kept in TARGET/editors, screenshots and the messages of what failed in TARGET/editors/out.
# A suite that cannot run is skipped; one that fails makes the exit status 1. SPELUNK_BIN may be another server of the same kind, such as dlv.
set -u
here=$(cd "$(dirname "$0")" && pwd)
target=$(mkdir -p "$1" && cd "$1" && pwd)
shift
: "${SPELUNK_BIN:?names the debug server}"
export SPELUNK_BIN
suites=${*:-extension vscode emacs nvim}

kept=$target/editors
out=$kept/out
rm -rf "$out"
mkdir -p "$out"
reason=$out/reason

# Asks a script of setup/ for a program; its last line of complaint is why there is none.
ensure() {
    sh "$here/setup/$1.sh" "$kept/.." 2>"$out/setup.log" || {
        status=$?
        cat "$out/setup.log" >&2
        tail -n 1 "$out/setup.log" >"$reason"
        return $status
    }
}

with_node() {
    node=$(ensure ensure-node) || return 77
    PATH=$node:$PATH
    export PATH
}

# A copy of the program to debug: the debug server writes beside it.
shop() {
    rm -rf "$out/$1"
    mkdir -p "$out/$1/home"
    cp -r "$here/program" "$out/$1/shop"
    SHOP=$out/$1/shop
    export SHOP
}

run_extension() {
    with_node || return 77
    (cd "$here/../vscode" && node --test test/*.test.js)
}

run_vscode() {
    with_node || return 77
    VSCODE_HOME=$(ensure ensure-vscode) || return 77
    CHROMIUM=$(ensure ensure-chromium) || return 77
    [ -e "$here/node_modules/playwright-core" ] || (cd "$here" && npm ci --no-audit --no-fund --loglevel=error) >&2 || {
        echo "playwright-core could not be installed with npm" >"$reason"
        return 77
    }
    VSIX=$(sh "$here/../vscode/pack.sh" "$target") || return 1
    OUT=$out
    export VSCODE_HOME CHROMIUM VSIX OUT
    (cd "$here" && node --test --test-reporter=spec vscode/*.test.js)
}

run_emacs() {
    emacs=$(ensure ensure-emacs) || return 77
    shop emacs
    HOME=$out/emacs/home GOCACHE=$gocache timeout 300 "$emacs" --batch -l "$here/emacs/session.el"
}

run_nvim() {
    nvim=$(ensure ensure-nvim) || return 77
    shop nvim
    XDG_STATE_HOME=$out/nvim/home timeout 300 "$nvim" --headless -u NONE -l "$here/nvim/session.lua"
}

# Where the Go toolchain keeps what it built, when HOME is another.
gocache=$(go env GOCACHE 2>/dev/null || echo "$out/gocache")

passed=0 failed=0 skipped=0
table=$out/table
: >"$table"
for suite in $suites; do
    echo "== $suite"
    : >"$reason"
    begun=$(date +%s)
    "run_$suite" >"$out/$suite.log" 2>&1
    case $? in
    0) result=passed passed=$((passed + 1)) ;;
    77) result=SKIPPED skipped=$((skipped + 1)) ;;
    *)
        result=FAILED failed=$((failed + 1))
        echo "see $out/$suite.log" >"$reason"
        cat "$out/$suite.log"
        ;;
    esac
    printf '%-10s %-8s %4d s  %s\n' "$suite" "$result" $(($(date +%s) - begun)) "$(cat "$reason")" >>"$table"
done

# A debug server, or a program that one built, which outlives its session is a failure of its own.
left=$(ps -eo pid=,args= | grep -F "$out" | grep -E "__debug_bin|/open open$" | grep -v grep || true)
if [ -n "$left" ]; then
    failed=$((failed + 1))
    printf '%-10s %-8s         %s\n' "ends" FAILED "$left" >>"$table"
fi

echo
cat "$table"
[ ! -d "$out/screenshots" ] || echo "screenshots: $out/screenshots"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
