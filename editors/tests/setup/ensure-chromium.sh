#!/bin/sh
# Prints the path of a Chromium that runs without a screen: $CHROMIUM, an installed one, else Debian's. The last line on standard error says why not.
for browser in "${CHROMIUM:-}" "$(command -v chromium-headless-shell || true)" "$(command -v chromium || true)" "$(command -v google-chrome || true)"; do
    if [ -n "$browser" ] && [ -x "$browser" ]; then
        echo "$browser"
        exit 0
    fi
done
. "$(dirname "$0")/apt.sh"
apt_install chromium-headless-shell && command -v chromium-headless-shell && exit 0
echo "no Chromium: install one, or name one in CHROMIUM" >&2
exit 77
