#!/bin/sh
# Make the environment of the peers, beside the project's own: benchmarks/peers/setup.sh [PYTHON [DIRECTORY]]
# A peer that cannot be installed here is named, and left out of the comparison.
set -e
cd "$(dirname "$0")/../.."
python=${1:-python3}
directory=${2:-.venv-peers}

tools/venv.sh "$python" "$directory"
pip="$directory/bin/python -m pip --disable-pip-version-check install --quiet"
$pip --editable . numpy py-spy scikit-learn
for peer in loky distributed ray; do
    $pip "$peer" || echo "$peer is not installed here: it is left out." >&2
done
"$directory/bin/python" -m compileall -q scaler_notebook benchmarks # as pip does with what is not editable
