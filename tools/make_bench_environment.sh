#!/usr/bin/env bash
# Makes VENV, a Python 3.12 with the peers that `make bench` compares us with, once: other engines
# (they need 3.12) and a differ; they are nobody's dependency but the table's.
# Exit 2: no Python 3.12; 4: the install failed.
set -u
venv=$1 peers=(simloom==0.5.0 simloop==0.2.2 detangle==0.1.0 deepdiff==9.1.0)
stamp=$venv/.installed

[ "$(cat "$stamp" 2>/dev/null)" = "${peers[*]}" ] && "$venv/bin/python" -c 0 2>/dev/null && exit 0
python=
for candidate in python3.12 "$HOME"/.pyenv/versions/3.12.*/bin/python; do
    "$candidate" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null \
        && python=$candidate && break
done
[ -n "$python" ] || { echo "no Python 3.12 on this machine" >&2; exit 2; }
rm -rf "$venv"
"$python" -m venv "$venv" \
    && "$venv/bin/python" -m pip --disable-pip-version-check install --quiet "${peers[@]}" >&2 \
    && printf '%s' "${peers[*]}" > "$stamp" \
    || { echo "the peers could not be installed (see above)" >&2; exit 4; }
