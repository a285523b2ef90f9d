#!/usr/bin/env bash
# Makes an environment with the libraries of Toron's acceptance matrix for another interpreter:
# VENV PYTHON [wide]. Kept until the pins change. Toron itself is found by PYTHONPATH, so nothing of
# this repository is installed. Exit 4: the install failed; what was made is removed.
set -u
venv=$1 python=$2 kind=${3:-compat}
wide=engine/tests/conformance/wide/requirements.txt

if [ "$kind" = wide ]; then
    # Without dependencies: some libraries ask for older versions of others than those tested here.
    pins=$(cksum < "$wide")
    wanted=(--no-deps --requirement "$wide")
else
    mapfile -t names < <("$python" -c 'import tomllib
with open("pyproject.toml", "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print(*extras["kernels"], *extras["compat"], sep="\n")')
    pins=$(printf '%s\n' "${names[@]}" | cat - constraints.txt | cksum)
    wanted=(--constraint constraints.txt "${names[@]}")
fi
stamp=$venv/.installed
[ "$(cat "$stamp" 2>/dev/null)" = "$pins" ] && "$venv/bin/python" -c 0 2>/dev/null && exit 0

install() { "$venv/bin/python" -m pip --disable-pip-version-check install -qq "$@" >&2; }
give_up() { rm -rf "$venv"; echo "the install did not finish: check the network" >&2; exit 4; }

echo "making $venv with $("$python" --version)" >&2
rm -rf "$venv"
"$python" -m venv "$venv" && install "${wanted[@]}" || give_up
if [ "$kind" = wide ]; then
    # Beside the others, not among them: aiohttp uses aiodns by default where it can be imported.
    install --target "$venv/aiodns" --constraint "$wide" aiodns==4.0.4 pycares==5.2.1 || give_up
fi
printf '%s' "$pins" > "$stamp"
