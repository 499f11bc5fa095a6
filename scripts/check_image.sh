#!/usr/bin/env bash
# Build the image for real and run it as the contest does: without network and capabilities, on a
# read-only root file system, as root and as 10001:10001. Then check what it wrote.
#
#     scripts/check_image.sh [cpu|cuda]
#
# Exit code 0: passed, 1: failed, 77: skipped, after saying why.
#
# Docker builds on the official base image. Without Docker, podman and runc do, as root; where the
# base image cannot be pulled, a bookworm from debootstrap with Debian's Python 3.11 stands in.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${1:-cpu}
tag=localhost/synthdet:$device
cache=${CHECK_IMAGE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/synthdet-image}
base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile | sort -u)
engine=(docker)
build_args=(--build-arg "DEVICE=$device" --tag "$tag")
run_args=(--rm --network none --read-only --tmpfs /tmp --cap-drop all
  --security-opt no-new-privileges --ulimit nofile=4096:4096 --ulimit nproc=4096:4096)

main() {
  docker info >/dev/null 2>&1 || use_podman
  "${engine[@]}" build "${build_args[@]}" .
  [ "${engine[0]}" = docker ] || "${engine[@]}" image prune --force >/dev/null # our own store
  echo "== the image's own command"
  "${engine[@]}" run "${run_args[@]}" "$tag"
  data=$(mktemp -d)
  trap 'rm -rf "$data"' EXIT
  cp -r examples/. "$data" && mv "$data/input.csv" "$data/metainfo.csv" && chmod -R a+rX "$data"
  score_as 0:0
  score_as 10001:10001
  [ "$device" != cpu ] || check_openvino
  echo "== $tag: $("${engine[@]}" image inspect --format '{{.Size}}' "$tag") bytes"
}

use_podman() {
  for tool in podman runc; do
    command -v $tool >/dev/null || skip "neither docker nor $tool runs here"
  done
  [ "$(id -u)" = 0 ] || skip "podman builds in a chroot here, which needs root"
  mkdir -p "$cache"
  driver=vfs
  grep -qw overlay /proc/filesystems && driver=overlay
  printf '[storage]\ndriver = "%s"\nrunroot = "%s/run"\ngraphroot = "%s/storage"\n' \
    "$driver" "$cache" "$cache" >"$cache/storage.conf"
  export CONTAINERS_STORAGE_CONF=$cache/storage.conf
  engine=(podman --runtime runc --cgroup-manager cgroupfs)
  build_args+=(--isolation chroot --network host --layers --pull-never)
  local trusted=/etc/ssl/certs/ca-certificates.crt # what the host trusts, while building only
  [ -r $trusted ] && build_args+=(--volume "$trusted:$trusted:ro")
  local image=docker.io/library/$base
  "${engine[@]}" image exists "$image" || timeout 600 "${engine[@]}" pull "$image" || stand_in "$image"
}

stand_in() { # IMAGE
  command -v debootstrap >/dev/null || skip "cannot pull $1, and there is no debootstrap"
  echo "== $1 cannot be pulled; a bookworm with Debian's python3.11 stands in"
  local root=$cache/root
  rm -rf "$root"
  debootstrap --variant=minbase --include=python3.11,python3-dev,python3-pip,ca-certificates \
    bookworm "$root" >"$cache/debootstrap.log" 2>&1 || skip "debootstrap failed, see $cache/debootstrap.log"
  ln -s python3.11 "$root/usr/bin/python"
  rm -rf "$root"/usr/lib/python3.11/EXTERNALLY-MANAGED "$root"/var/cache/apt/archives/*.deb \
    "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | "${engine[@]}" import --quiet - "$1"
  rm -rf "$root"
}

score_as() { # UID:GID; /output is a fresh volume, mode 755, of that user
  local volume=synthdet-check
  "${engine[@]}" volume rm --force $volume >/dev/null
  "${engine[@]}" run "${run_args[@]}" --cap-add CHOWN --volume $volume:/output "$tag" chown "$1" /output
  echo "== python main.py /data/metainfo.csv /output/out.csv as $1"
  run_args_as=("${run_args[@]}" --user "$1" --volume "$data:/data:ro" --volume $volume:/output)
  "${engine[@]}" run "${run_args_as[@]}" -w /code "$tag" \
    python main.py /data/metainfo.csv /output/out.csv
  "${engine[@]}" run "${run_args_as[@]}" --interactive "$tag" python - <<'PY'
import csv, json, math, os, stat

import numpy as np

from synthdet.inference.refine import dense_crf

status = os.stat("/output")
assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.getuid(), 0o755), status
with open("/data/metainfo.csv", newline="") as stream:
    asked = [row["filename"] for row in csv.DictReader(stream)]
with open("/output/out.csv", newline="") as stream:
    answered = list(csv.DictReader(stream))
assert [row["filename"] for row in answered] == asked, answered
assert all(math.isfinite(float(row["logit"])) for row in answered), answered
with open("/output/out.csv.report.json") as stream:
    report = json.load(stream)
assert [row["filename"] for row in report["fallbacks"]] == ["odd/broken.jpg"], report["fallbacks"]
refined = dense_crf(np.full((8, 8), 0.9, np.float32), np.zeros((8, 8, 3), np.uint8))
assert refined.min() > 0.5, refined  # pydensecrf2 has come along from the first stage
print(f"{len(asked)} rows in order, all finite; only odd/broken.jpg fell back;",
      f"{report['run']['provider']}, {report['speed']['wall_seconds']} s")
PY
  "${engine[@]}" volume rm --force $volume >/dev/null
}

check_openvino() {
  echo "== python main.py examples/input.csv /tmp/out.csv --provider openvino"
  "${engine[@]}" run "${run_args[@]}" "$tag" sh -c '
    python main.py examples/input.csv /tmp/out.csv --provider openvino &&
    grep "\"provider\": \"openvino\"" /tmp/out.csv.report.json'
}

skip() {
  echo "SKIPPED: $*"
  exit 77
}

main
