#!/usr/bin/env bash
# Prints the Python that has what tests/requirements.txt names, in a virtual environment under target/,
# made at the first call and again when the list has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

home=target/clients/venv
wanted=tests/requirements.txt
mkdir -p target/clients
# Test programs may run side by side.
exec 9>target/clients/venv.lock
flock 9
if ! cmp --silent "$wanted" "$home/installed"; then
    rm -rf "$home"
    python3 -m venv "$home" >&2
    "$home/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$home/installed"
fi
echo "$PWD/$home/bin/python"
