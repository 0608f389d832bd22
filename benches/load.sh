#!/usr/bin/env bash
# How many webhooks a second one core takes, beside a bare handler that keeps nothing and a receiver written with Express.
# All are measured in one run, one after the other, on the same core, by the same client on another core.
#
#   benches/load.sh [SECONDS]      SECONDS of measurement each (default 10), after 3 of warm-up
#
#   CONNECTIONS=128     connections that the client keeps busy
#   MINIMUM=0           the least share of the bare handler's rate that a durable answer may have; below, the script fails
#   PROGRAM=, LOAD=     the two executables, where they are built already; otherwise they are built for release
#   ONLY=               measure only these, such as "bare durable"
#   LEDGER_URL=         an empty PostgreSQL database (postgres://…) that keeps the ledger, on cores of its own choice; needs psql
#
# Needs wrk, curl, jq, taskset, python3; Node and npm for Express, which is left out where they are missing.
#
#   bare        actix-web: reads the body, answers 200
#   express     Express on Node: the same check of the signature, the JSON parsed, nothing kept
#   verified    crisp-sync: the signature checked, the envelope read, the event none of ours: acknowledged, not kept
#   durable     crisp-sync: verified, folded, committed (synchronous=FULL), logged to a file, answered. Nothing is due within
#               the run, because every conversation's first refresh waits for a debounce of a day
#   forged      crisp-sync: as many bytes with a signature that is not Crisp's: refused, not parsed, not kept
#   at work     as durable, while the worker refreshes 8 conversations at a time against the sandbox, which answers in 50 ms
#
# Each webhook of the file is of a conversation of its own, their ids in no order. Every answer must be 2xx, and every
# webhook that was acknowledged as durable must be in the ledger afterwards. A forged one must be answered 403.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-10}
connections=${CONNECTIONS:-128}
minimum=${MINIMUM:-0}
only=${ONLY:-bare express verified durable forged}
[ -n "${ONLY:-}${LEDGER_URL:-}" ] || only+=" work"
website=0b7e4c1a-6f1d-4a58-9d0e-2f5b7c9a1e11
folder=$(mktemp -d)
last=
started=()
finish() {
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap finish EXIT

if [ -z "${PROGRAM:-}" ] || [ -z "${LOAD:-}" ]; then
  executables=$(cargo build --release --locked --quiet --bin crisp-sync --bench load --message-format=json |
    jq -r 'select(.executable) | .target.name + " " + .executable')
  PROGRAM=$(awk '$1 == "crisp-sync" { print $2 }' <<<"$executables")
  LOAD=$(awk '$1 == "load" { print $2 }' <<<"$executables")
fi

fail() {
  printf '%s\n' "$1" >&2
  tail -n 20 "$folder"/*.log >&2
  exit 1
}

wanted() { [[ " $only " == *" $1 "* ]]; }

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start CORE LOG COMMAND…: in the background, ended with this script. Its process is $last.
start() {
  local core=$1 log=$2
  shift 2
  taskset -c "$core" "$@" </dev/null >"$log" 2>&1 &
  last=$!
  started+=("$last")
}

stop() {
  kill "$1"
  wait "$1" || [ "${2:-}" = rough ] || fail 'the service did not end well'
}

ready() {
  curl --silent --fail --output /dev/null --retry 60 --retry-delay 1 --retry-all-errors --max-time 2 "$1" ||
    fail "nothing answers at $1"
}

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

# measure NAME PORT PROCESS FILE [refused]: a line of figures. What is bad: an error, and every answer that is not 2xx; or, where
# all are to be refused, that is.
measure() {
  local name=$1 url="http://127.0.0.1:$2/webhooks/crisp" process=$3 file=$4 expected=${5:-} warm measured before after cpu
  warm=$(taskset -c 1 wrk -t1 -c"$connections" -d3 -s benches/load.lua "$url" -- "$file" | grep '^{')
  before=$(ticks "$process")
  measured=$(taskset -c 1 wrk -t1 -c"$connections" -d"$seconds" -s benches/load.lua "$url" -- "$file" | grep '^{')
  after=$(ticks "$process")
  cpu=$(((after - before) * 1000000 / $(getconf CLK_TCK)))
  jq -c -n --arg name "$name" --arg expected "$expected" --argjson warm "$warm" --argjson measured "$measured" --argjson cpu "$cpu" \
    '$measured + {name: $name, warm: $warm.answered, bad: ([$warm, $measured] | map((if $expected == "refused" then .answered - .refused else .refused end) + .errors) | add),
      cpu_us: ($cpu / ([$measured.answered, 1] | max))}' >>"$folder/figures"
}

figure() { jq -r -s --arg name "$1" "map(select(.name == \$name))[0] | $2" "$folder/figures"; }

"$LOAD" sign 50000 user "$website" "$(date +%s%3N)" "$folder/messages"
"$LOAD" sign 50000 operator "$website" "$(date +%s%3N)" "$folder/ignored"
awk -F '\t' -v OFS='\t' '{ $2 = substr($2, 33) substr($2, 1, 32); print }' "$folder/messages" >"$folder/forged"
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("CREATE TABLE users (id TEXT, email TEXT)")' "$folder/app.db"

# service NAME DEBOUNCE BASE_URL: the released program with a ledger of its own, on $port.
service() {
  cat >"$folder/$1.toml" <<TOML
mode = "observe"
[crisp]
daily_quota = 1000000000
unproven_share = 100
[users]
query = "SELECT id, email FROM users WHERE email = :email"
[triggers]
debounce = "$2"
TOML
  port=$(free_port)
  start 0 "$folder/$1.log" env \
    CRISP_SYNC_CONFIG="$folder/$1.toml" \
    CRISP_SYNC_LEDGER="${LEDGER_URL:-$folder/$1.db}" \
    CRISP_SYNC_LISTEN="127.0.0.1:$port" \
    CRISP_SYNC_OPS_LISTEN=127.0.0.1:0 \
    CRISP_BASE_URL="$3" \
    CRISP_TOKEN_IDENTIFIER=load CRISP_TOKEN_KEY=load \
    CRISP_SIGNING_SECRETS=load-secret \
    DATABASE_URL="sqlite://$folder/app.db" \
    "$PROGRAM" serve
  ready "http://127.0.0.1:$port/readyz"
}

# kept NAME: the ledger holds what was acknowledged. What was under way when the client stopped is kept too, but nobody
# heard of it: at most one a connection and round.
kept() {
  local answered rows
  answered=$(figure "$1" '.answered + .warm')
  if [ -n "${LEDGER_URL:-}" ]; then
    rows=$(psql "$LEDGER_URL" -Atc 'SELECT count(*) FROM crisp_sync.deliveries')
  else
    rows=$(python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM deliveries").fetchone()[0])' "$folder/$2.db")
  fi
  [ "$rows" -ge "$answered" ] && [ "$rows" -le $((answered + 2 * connections)) ] ||
    fail "the ledger and the client disagree: $answered webhooks answered 2xx, $rows in the ledger"
  printf '%s: %s webhooks answered 2xx, %s in the ledger\n' "$1" "$answered" "$rows" >>"$folder/kept"
}

if wanted bare; then
  port=$(free_port)
  start 0 "$folder/bare.log" "$LOAD" bare "$port"
  ready "http://127.0.0.1:$port/healthz"
  measure bare "$port" "$last" "$folder/messages"
  stop "$last" rough
fi

if wanted express && command -v node >/dev/null && command -v npm >/dev/null; then
  npm ci --prefix benches/express --ignore-scripts --silent >/dev/null
  port=$(free_port)
  NODE_ENV=production start 0 "$folder/express.log" node benches/express/server.mjs "$port" load-secret
  ready "http://127.0.0.1:$port/healthz"
  measure express "$port" "$last" "$folder/messages"
  stop "$last" rough
fi

nobody=http://127.0.0.1:1/v1/
if wanted verified || wanted durable || wanted forged; then
  service durable 1d "$nobody"
  if wanted verified; then measure verified "$port" "$last" "$folder/ignored"; fi
  if wanted durable; then measure durable "$port" "$last" "$folder/messages"; fi
  if wanted forged; then measure forged "$port" "$last" "$folder/forged" refused; fi
  stop "$last"
  if wanted durable; then kept durable durable; fi
fi

if wanted work; then
  crisp=$(free_port)
  start 1 "$folder/crisp.log" "$PROGRAM" sandbox --listen "127.0.0.1:$crisp" --token load:load
  sandbox=$last
  ready "http://127.0.0.1:$crisp/sandbox/settings"
  curl --silent --fail --output /dev/null "http://127.0.0.1:$crisp/sandbox/faults" -H 'Content-Type: application/json' \
    -d '{"delay_ms": 50, "times": 0}' || fail 'the sandbox takes no delay'
  service work 0s "http://127.0.0.1:$crisp/v1/"
  measure 'at work' "$port" "$last" "$folder/messages"
  stop "$last"
  kept 'at work' work
  stop "$sandbox" rough
fi

printf '%-10s %12s %9s %9s %12s %8s %8s\n' "$connections conn." 'answers/s' 'p50 ms' 'p99 ms' 'cpu µs each' 'of bare' 'express'
jq -r -s '(map(select(.name == "bare"))[0].per_second // 0) as $bare | (map(select(.name == "express"))[0].per_second // 0) as $express |
  def share(of): if of > 0 then (.per_second / of * 100 | round / 100 | tostring) + " x" else "-" end;
  .[] | [.name, .per_second, .p50_ms, .p99_ms, (.cpu_us * 10 | round / 10), share($bare), share($express)] | @tsv' "$folder/figures" |
  while IFS=$'\t' read -r name rate p50 p99 cpu of_bare of_express; do
    printf '%-10s %12s %9s %9s %12s %8s %8s\n' "$name" "$rate" "$p50" "$p99" "$cpu" "$of_bare" "$of_express"
  done
cat "$folder/kept" 2>/dev/null || true

# What the receiver beside us refuses under load is its own affair.
jq -e -s 'map(select(.name != "express")) | all(.bad == 0 and .answered > 0)' "$folder/figures" >/dev/null ||
  fail "some requests were not answered as they should be: $(cat "$folder/figures")"
if wanted bare && wanted durable; then
  jq -e -s --argjson minimum "$minimum" \
    'map({(.name): .per_second}) | add | .durable >= .bare * $minimum' "$folder/figures" >/dev/null ||
    fail "a durable answer comes at less than $minimum x the bare handler's rate"
fi
