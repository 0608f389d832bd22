#!/usr/bin/env bash
# How many webhooks a second one core takes and has on disk before it answers, beside a bare handler that keeps nothing.
# Both are measured in one run, one after the other, on the same core, by the same client on another core.
#
#   benches/load.sh [SECONDS]      needs wrk, curl, jq, taskset; builds for release. About 2 x SECONDS (default 10).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-10}
connections=64
website=8c842203-7ed8-4e29-a608-7cf78a7d2fcc
folder=$(mktemp -d)
started=()
finish() {
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap finish EXIT

cargo build --release --locked --quiet --bin crisp-sync
load=$(cargo bench --locked --quiet --no-run --bench load --message-format=json | jq -r 'select(.executable) | .executable' | tail -n 1)
service="${CARGO_TARGET_DIR:-target}/release/crisp-sync"

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start CORE LOG COMMAND…: in the background, on one core, ended with this script.
start() {
  local core=$1 log=$2
  shift 2
  taskset -c "$core" "$@" </dev/null >"$log" 2>&1 &
  started+=($!)
}

ready() {
  curl --silent --fail --output /dev/null --retry 60 --retry-delay 1 --retry-all-errors --max-time 2 "$1" || {
    printf 'nothing answers at %s\n' "$1" >&2
    tail -n 20 "$folder"/*.log >&2
    exit 1
  }
}

# measure PORT: wrk's figures as one line of JSON; the first seconds warm up and are not counted.
measure() {
  local url="http://127.0.0.1:$1/webhooks/crisp"
  taskset -c 1 wrk -t1 -c"$connections" -d2 -s benches/load.lua "$url" -- "$folder/signed" >/dev/null
  taskset -c 1 wrk -t1 -c"$connections" -d"$seconds" -s benches/load.lua "$url" -- "$folder/signed" | grep '^{'
}

"$load" sign 4000 "$website" "$(date +%s%3N)" "$folder/signed"

bare_port=$(free_port)
start 0 "$folder/bare.log" "$load" bare "$bare_port"
ready "http://127.0.0.1:$bare_port/healthz"
bare=$(measure "$bare_port")
kill "${started[0]}"

# The service as it runs, its worker included. Crisp is a port where nobody listens, so the worker's calls fail at once
# and do not measure somebody else.
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("CREATE TABLE users (id TEXT, email TEXT)")' "$folder/app.db"
cat >"$folder/crisp-sync.toml" <<TOML
mode = "observe"
[users]
query = "SELECT id, email FROM users WHERE email = :email"
TOML
service_port=$(free_port)
start 0 "$folder/service.log" env \
  CRISP_SYNC_CONFIG="$folder/crisp-sync.toml" \
  CRISP_SYNC_LEDGER="$folder/ledger.db" \
  CRISP_SYNC_LISTEN="127.0.0.1:$service_port" \
  CRISP_SYNC_OPS_LISTEN="127.0.0.1:$(free_port)" \
  CRISP_BASE_URL="http://127.0.0.1:$(free_port)/v1/" \
  CRISP_TOKEN_IDENTIFIER=load CRISP_TOKEN_KEY=load \
  CRISP_SIGNING_SECRETS=load-secret \
  DATABASE_URL="sqlite://$folder/app.db" \
  "$service" serve
ready "http://127.0.0.1:$service_port/healthz"
durable=$(measure "$service_port")

printf '%-34s %12s %10s %10s\n' "one core, $connections connections, ${seconds} s" 'answers/s' 'p50 ms' 'p99 ms'
row() { jq -r '[.per_second, .p50_ms, .p99_ms] | @tsv' <<<"$2" | { read -r rate p50 p99 && printf '%-34s %12s %10s %10s\n' "$1" "$rate" "$p50" "$p99"; }; }
row 'bare handler, nothing kept' "$bare"
row 'crisp-sync, verified and on disk' "$durable"

for figures in "$bare" "$durable"; do
  jq -e '.refused == 0 and .errors == 0 and .answered > 0' <<<"$figures" >/dev/null || {
    printf 'some requests were not answered 2xx: %s\n' "$figures" >&2
    exit 1
  }
done
