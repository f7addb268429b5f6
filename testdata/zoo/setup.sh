#!/bin/sh
# Makes the Python environment of the zoo scripts and prints its interpreter.
# Running it again is free: a stamp records the requirements that are installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${PARITYGATE_VENV:-$HOME/.cache/paritygate/venv}
stamp=$venv/zoo-requirements.txt
if [ ! -x "$venv/bin/python" ]; then
    ${PYTHON:-python3} -m venv "$venv" >&2
fi
if ! cmp -s "$here/requirements.txt" "$stamp"; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$stamp"
fi
echo "$venv/bin/python"
