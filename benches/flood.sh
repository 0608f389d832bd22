#!/usr/bin/env bash
# Opens many conversations within a minute and looks when each has its context (benches/flood.rs says how). The service
# has a core to itself; Crisp's stand-in and what posts to it have the other.
#
#   benches/flood.sh [CONVERSATIONS] [SECONDS]      10000 within 60 unless said otherwise
#
#   CONCURRENCY=32       pieces of work at a time (`worker.concurrency`)
#   PROGRAM=, FLOOD=     the two executables, where they are built already; otherwise they are built for release
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PROGRAM:-}" ] || [ -z "${FLOOD:-}" ]; then
  executables=$(cargo build --release --locked --quiet --bin crisp-sync --bench flood --message-format=json |
    jq -r 'select(.executable) | .target.name + " " + .executable')
  PROGRAM=$(awk '$1 == "crisp-sync" { print $2 }' <<<"$executables")
  FLOOD=$(awk '$1 == "flood" { print $2 }' <<<"$executables")
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
taskset -c 1 "$FLOOD" "$PROGRAM" "$folder" "${1:-10000}" "${2:-60}" "${CONCURRENCY:-32}" || {
  tail -n 20 "$folder/service.log" >&2
  exit 1
}
