#!/bin/sh
# Print the path of a Chromium. Where there is none, Debian's is installed if we may; else say what to do.
mac="/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"

find_browser() {
    for name in "${CHROMIUM:-chromium}" chromium chromium-browser google-chrome google-chrome-stable "$mac"; do
        path=$(command -v "$name") && "$path" --version >/dev/null 2>&1 && echo "$path" && return
    done
    return 1
}

has_font() {
    test "$(uname)" = Darwin || { command -v fc-list && fc-list | grep .; } >/dev/null 2>&1
}

browser=$(find_browser) && has_font && echo "$browser" && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    as_root="false"
fi

if [ "$as_root" != false ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium and a font by apt-get ..." >&2
    packages="fontconfig fonts-dejavu-core"
    find_browser >/dev/null || packages="$packages chromium"
    { $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } >&2
fi

find_browser && exit 0
cat >&2 <<'MESSAGE'
The tests drive JupyterLab in a real browser, and no Chromium was found.
Install one and run this again:
    Debian:  sudo apt-get install chromium fonts-dejavu-core
    Fedora:  sudo dnf install chromium
    macOS:   brew install --cask google-chrome
or name one that you have: CHROMIUM=/path/to/chromium make test
MESSAGE
exit 1
