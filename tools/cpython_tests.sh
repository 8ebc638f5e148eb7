#!/bin/sh
# Print the directory with CPython's own tests of concurrent.futures (a package "test"): tools/cpython_tests.sh PYTHON DIRECTORY
# It is PYTHON's own if it has them. Many installations leave them out: then those of the same Python, or else of
# another, are unpacked to DIRECTORY from Debian's or Ubuntu's package, without installing it.
python=$1
directory=$2
case $directory in /*) ;; *) directory=$PWD/$directory ;; esac

own=$("$python" -c 'import os, test; print(os.path.dirname(os.path.dirname(test.__file__)))' 2>/dev/null)
has_tests() {
    for tests in "$1/test/test_concurrent_futures" "$1/test/test_concurrent_futures.py"; do
        test -e "$tests" && echo "$1" && return
    done
    return 1
}
test -n "$own" && has_tests "$own" && exit 0
has_tests "$directory" && exit 0

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
    echo "$python has no test.test_concurrent_futures, and there is no apt-get to get it with." >&2
    exit 1
}
unpacked=$(mktemp -d) || exit 1
trap 'rm -rf "$unpacked"' EXIT
cd "$unpacked" || exit 1

get() { # the packages of Python $1
    apt-get download -qq "libpython$1-testsuite" "libpython$1-stdlib" >/dev/null 2>&1
}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
others() { apt-cache pkgnames libpython3 | sed -n 's/^libpython\(3\.[0-9]*\)-testsuite$/\1/p' | sort -t. -k2nr; }
get "$version" || { apt-get update -qq >/dev/null 2>&1; get "$version"; } || {
    for version in $(others); do get "$version" && break; done
}
for package in *.deb; do dpkg-deb -x "$package" . 2>/dev/null; done
found=$(echo usr/lib/python3*/test)
has_tests "$(dirname "$found")" >/dev/null || {
    echo "$python has no test.test_concurrent_futures, and apt-get knows no libpython3*-testsuite that has." >&2
    exit 1
}
test -d "$own/test/support" && { # what the tests stand on is this Python's own, if it has that
    rm -rf "$found/support"
    cp -R "$own/test/support" "$found/support"
}
mkdir -p "$directory/test"
cp -R "$found/__init__.py" "$found/support" "$found"/test_concurrent_futures* "$directory/test/"
has_tests "$directory"
