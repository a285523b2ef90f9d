#!/usr/bin/env bash
# Makes the environment that every make target uses: VENV with both distributions, editable, at the
# exact versions of constraints.txt. The stamp is written last, so that an install which was
# interrupted starts from nothing the next time. Exit 2: no usable Python; 4: the install failed.
set -u
venv=$1 stamp=$2 place=$3 asked=${4:-}

fail() { echo "$1" >&2; exit "$2"; }
is_usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; }

python=
for candidate in ${asked:-python3 python3.13 python3.12 python3.11}; do
    if is_usable "$candidate" >/dev/null 2>&1; then python=$candidate; break; fi
done
[ -n "$python" ] || fail "no Python 3.11 or newer with venv found (tried: ${asked:-python3, \
python3.13, python3.12, python3.11}); install one (on Debian: python3.11 and python3.11-venv) or \
name it: make PYTHON=/path/to/python" 2

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$place" ] || ! "$venv/bin/python" -c 0 2>/dev/null
then
    rm -rf "$venv" || fail "$venv cannot be removed: check its permissions" 4
fi
rm -f "$stamp"
echo "making $venv with $("$python" --version)"
[ -d "$venv" ] || "$python" -m venv "$venv" || fail "$venv could not be made: see above" 4

install=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet
         --constraint constraints.txt)
# The build backend comes first and from the same pins, so that nothing is resolved twice.
"${install[@]}" hatchling editables \
    && "${install[@]}" --no-build-isolation --editable engine --editable '.[dev,oidc,otlp,s3,kernels,compat]' \
    || fail "the install did not finish: check the messages above and the network, then run make again" 4
printf '%s' "$place" > "$stamp"
