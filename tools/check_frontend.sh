#!/bin/sh
# Have eslint and tsc read the front end's modules, and run their tests. Where none of that can be, say so: the workflow
# of every change does it always.
skip() {
    echo "eslint, tsc and tests/front_end: skipped, $1"
    exit 0
}

supported='const [major, minor] = process.versions.node.split(".").map(Number);
process.exit((major === 20 && minor >= 19) || (major === 22 && minor >= 13) || major >= 24 ? 0 : 1);'

command -v node >/dev/null && command -v npm >/dev/null || skip "there is no Node.js here"
node -e "$supported" || skip "they need a newer Node.js than $(node --version)"
test node_modules/.package-lock.json -nt package-lock.json || npm ci --loglevel=error ||
    skip "npm could not install them; its own message is above"
npm run --silent check && echo "eslint, tsc and tests/front_end: no problems found"
