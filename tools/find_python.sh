#!/bin/sh
# Print the path of a Python of this version, e.g. tools/find_python.sh 3.10, wherever it may be; else say so and fail.
version=$1
for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
    path=$(command -v "$python") && "$path" -c '' 2>/dev/null && echo "$path" && exit
done
echo "There is no Python $version here, in the PATH or in pyenv." >&2
exit 1
