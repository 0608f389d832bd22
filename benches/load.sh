#!/usr/bin/env bash
# How many webhooks a second one core takes and has on disk before it answers, beside a bare handler that keeps nothing.
# Both are measured in one run, one after the other, on the same core, by the same client on another core.
#
#   benches/load.sh [SECONDS]      needs wrk, curl, jq, taskset, python3; builds for release. About 2 x SECONDS (default 10).
#
# The service is the released program as it runs: `serve` with its log in a file and its worker at work on the same core.
# Crisp is an address where nobody listens, so each refresh is tried, fails at once and is put back: the worker pays for
# itself and for nobody else. Every answer must be 2xx and every acknowledged webhook must be in the ledger afterwards.
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

executables=$(cargo build --release --locked --quiet --bin crisp-sync --bench load --message-format=json |
  jq -r 'select(.executable) | .target.name + " " + .executable')
executable() { awk -v name="$1" '$1 == name { print $2 }' <<<"$executables"; }
service=$(executable crisp-sync)
load=$(executable load)

fail() {
  printf '%s\n' "$1" >&2
  tail -n 20 "$folder"/*.log >&2
  exit 1
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start LOG COMMAND…: in the background, on one core, ended with this script.
start() {
  local log=$1
  shift
  taskset -c 0 "$@" </dev/null >"$log" 2>&1 &
  started+=($!)
}

ready() {
  curl --silent --fail --output /dev/null --retry 60 --retry-delay 1 --retry-all-errors --max-time 2 "$1" ||
    fail "nothing answers at $1"
}

# measure PORT: wrk's figures, a line of JSON for the warm-up and one for what counts.
measure() {
  local url="http://127.0.0.1:$1/webhooks/crisp" duration
  for duration in 2 "$seconds"; do
    taskset -c 1 wrk -t1 -c"$connections" -d"$duration" -s benches/load.lua "$url" -- "$folder/signed" | grep '^{'
  done
}

"$load" sign 4000 "$website" "$(date +%s%3N)" "$folder/signed"

port=$(free_port)
start "$folder/bare.log" "$load" bare "$port"
ready "http://127.0.0.1:$port/healthz"
bare=$(measure "$port")
kill "${started[0]}"

python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("CREATE TABLE users (id TEXT, email TEXT)")' "$folder/app.db"
cat >"$folder/crisp-sync.toml" <<TOML
mode = "observe"
[users]
query = "SELECT id, email FROM users WHERE email = :email"
TOML
port=$(free_port)
start "$folder/service.log" env \
  CRISP_SYNC_CONFIG="$folder/crisp-sync.toml" \
  CRISP_SYNC_LEDGER="$folder/ledger.db" \
  CRISP_SYNC_LISTEN="127.0.0.1:$port" \
  CRISP_SYNC_OPS_LISTEN=127.0.0.1:0 \
  CRISP_BASE_URL=http://127.0.0.1:1/v1/ \
  CRISP_TOKEN_IDENTIFIER=load CRISP_TOKEN_KEY=load \
  CRISP_SIGNING_SECRETS=load-secret \
  DATABASE_URL="sqlite://$folder/app.db" \
  "$service" serve
ready "http://127.0.0.1:$port/healthz"
durable=$(measure "$port")
kill "${started[1]}"
wait "${started[1]}" || fail 'the service did not end well'

printf '%-34s %12s %10s %10s\n' "one core, $connections connections, ${seconds} s" 'answers/s' 'p50 ms' 'p99 ms'
row() {
  local rate p50 p99
  read -r rate p50 p99 < <(tail -n 1 <<<"$2" | jq -r '[.per_second, .p50_ms, .p99_ms] | @tsv')
  printf '%-34s %12s %10s %10s\n' "$1" "$rate" "$p50" "$p99"
}
row 'bare handler, nothing kept' "$bare"
row 'crisp-sync, verified and on disk' "$durable"

jq -e -s 'all(.refused == 0 and .errors == 0 and .answered > 0)' <<<"$bare$durable" >/dev/null ||
  fail "some requests were not answered 2xx: $bare $durable"
answered=$(jq -s 'map(.answered) | add' <<<"$durable")
kept=$(python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM deliveries").fetchone()[0])' "$folder/ledger.db")
printf '%s webhooks answered 2xx, %s in the ledger\n' "$answered" "$kept"
# What was under way when the client stopped is kept, but nobody heard of it: at most one a connection and round.
[ "$kept" -ge "$answered" ] && [ "$kept" -le $((answered + 2 * connections)) ] || fail 'the ledger and the client disagree'
