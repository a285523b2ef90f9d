#!/usr/bin/env bash
# Makes an environment with the libraries of Toron's acceptance matrix for another interpreter:
# VENV PYTHON [wide]. Kept until the pins change. Toron itself is found by PYTHONPATH, so nothing of
# this repository is installed. Exit 4: the install failed; what was made is removed.
set -u
venv=$1 python=$2 kind=${3:-compat}
wide=engine/tests/conformance/wide/requirements.txt

pins=$(cat pyproject.toml constraints.txt "$wide" 2>/dev/null | cksum)
stamp=$venv/.installed
[ "$(cat "$stamp" 2>/dev/null)" = "$pins" ] && "$venv/bin/python" -c 0 2>/dev/null && exit 0

echo "making $venv with $("$python" --version)" >&2
rm -rf "$venv"
if [ "$kind" = wide ]; then
    wanted=(--no-deps --requirement "$wide")
else
    mapfile -t names < <("$python" -c 'import tomllib
with open("pyproject.toml", "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print(*extras["kernels"], *extras["compat"], sep="\n")')
    wanted=(--constraint constraints.txt "${names[@]}")
fi
"$python" -m venv "$venv" \
    && "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --quiet "${wanted[@]}" >&2 \
    || { rm -rf "$venv"; echo "the install did not finish: check the network" >&2; exit 4; }
if [ "$kind" = wide ]; then
    # Beside the others, not among them: aiohttp uses aiodns by default where it can be imported.
    "$venv/bin/python" -m pip --disable-pip-version-check install --quiet --quiet \
        --target "$venv/aiodns" --constraint "$wide" aiodns==4.0.4 pycares==5.2.1 >&2 \
        || { rm -rf "$venv"; echo "the install did not finish: check the network" >&2; exit 4; }
fi
printf '%s' "$pins" > "$stamp"
