#!/bin/sh
# Write the newest versions that pyproject.toml allows, with their hashes, to locks/: tools/lock.sh PYTHON
# Each file serves every Python that we support, by markers, and names no index.
set -e
cd "$(dirname "$0")/.."
tools/venv.sh "$1" .venv-tools
.venv-tools/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"

lock() { # FILE WHAT...
    file=locks/$1.txt
    shift
    .venv-tools/bin/uv pip compile "$@" --upgrade --universal --python-version 3.10 --generate-hashes --no-annotate \
        --no-header --no-emit-index-url --no-emit-find-links --quiet --output-file "$file" >/dev/null
    { echo "# Written by make lock."; cat "$file"; } >"$file.new"
    mv "$file.new" "$file"
}
mkdir -p locks
lock build --group build
lock packages pyproject.toml --extra demo --extra test
lock docs pyproject.toml --extra docs
