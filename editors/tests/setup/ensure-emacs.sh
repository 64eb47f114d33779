#!/bin/sh
# Prints the path of an Emacs that has dap-mode: the installed one, else Debian's with its packages.
has_dap_mode() {
    [ -n "$1" ] && "$1" --batch --eval '(progn (package-initialize) (kill-emacs (if (locate-library "dap-mode") 0 1)))' >/dev/null 2>&1
}
emacs=$(command -v emacs || true)
has_dap_mode "$emacs" && echo "$emacs" && exit 0
. "$(dirname "$0")/apt.sh"
apt_install emacs-nox elpa-dap-mode
emacs=$(command -v emacs || true)
has_dap_mode "$emacs" && echo "$emacs" && exit 0
echo "no Emacs with dap-mode: install both (Debian: emacs-nox, elpa-dap-mode)" >&2
exit 77
