#!/bin/sh
# Makes an output folder with a model, an array and a manifest that states their digests.
# usage: make_folder.sh FOLDER MODEL
set -e
rm -rf "$1"
mkdir -p "$1"
cp "$2" "$1/model.onnx"
cp "$(dirname "$0")/../../../../testdata/npy/stored.npz" "$1/x.npz"
entry() {
  printf '{"name": "%s", "bytes": %s, "sha256": "%s"}' "$1" "$(stat -c %s "$2/$1")" "$(sha256sum "$2/$1" | cut -d' ' -f1)"
}
printf '{"schema": "nibble-manifest", "version": 1, "outputs": [%s, %s]}' \
  "$(entry model.onnx "$1")" "$(entry x.npz "$1")" >"$1/manifest.json"
