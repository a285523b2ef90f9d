#!/usr/bin/env bash
# Makes FOLDER/site-packages with the pinned libraries of one side of a bug of the zoo:
# FOLDER PYTHON PIN... The name tells Toron that what is in it is not the program under test.
# Without dependencies, so that nothing is resolved: the pins are all there is. Kept until they
# change; made beside its place and moved there, so that an interrupted install leaves nothing.
# Exit 4: the install failed.
set -u
folder=$1 python=$2; shift 2
stamp=$folder/.installed wanted="$("$python" --version) site-packages $*"

[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0
made=$(mktemp -d "$folder.XXXXXX") || exit 4
trap 'rm -rf "$made"' EXIT
"$python" -m pip --disable-pip-version-check install --quiet --no-deps --no-compile --retries 1 \
    --target "$made/site-packages" "$@" >&2 || exit 4
printf '%s' "$wanted" > "$made/.installed"
rm -rf "$folder"
# Another process may have made it meanwhile.
mv -T "$made" "$folder" 2>/dev/null || [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] || exit 4
