#!/usr/bin/env bash
# Prints the program that stands in for Azure's blob storage in the tests, from npm, installed under target/
# at the first call and again when the version here has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=azurite@3.35.0
home=target/clients/azurite
mkdir -p target/clients
# Test programs may run side by side.
exec 9>target/clients/azurite.lock
flock 9
if [ "$(cat "$home/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$home"
    mkdir -p "$home"
    npm install --prefix "$home" --silent --no-audit --no-fund --no-save "$wanted" >&2
    echo "$wanted" >"$home/installed"
fi
echo "$PWD/$home/node_modules/.bin/azurite-blob"
