#!/bin/sh
# Make a virtual environment, or say what is missing: tools/venv.sh PYTHON DIRECTORY
python=$1
directory=$2

fail() {
    echo "$1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "There is no $python here. Install Python 3.10 or newer."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "Python 3.10 or newer is needed, and $python is $("$python" --version 2>&1). Name another: make PYTHON=python3.12 ..."
test -x "$directory/bin/pip" && exit 0
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
"$python" -m venv "$directory" || {
    rm -rf "$directory"
    fail "$python could not make a virtual environment in $directory; its own message is above."
}
