#!/usr/bin/env bash
# What enqueue, claim and settle cost as the ledger fills to a million rows, and how soon the service is ready on it.
#
#   benches/ledger.sh [ROWS…]      1000 10000 100000 1000000 unless said otherwise
#
#   LEDGER_URL=           an empty PostgreSQL database (postgres://…), to be measured instead of a file; without start and idleness
#   PROGRAM=, LEDGER=     the two executables, where they are built already; otherwise they are built for release
#   FOLDER=               where the file is made; a new folder below $TMPDIR unless said otherwise
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${PROGRAM:-}" ] || [ -z "${LEDGER:-}" ]; then
  executables=$(cargo build --release --locked --quiet --bin crisp-sync --bench ledger --message-format=json |
    jq -r 'select(.executable) | .target.name + " " + .executable')
  PROGRAM=$(awk '$1 == "crisp-sync" { print $2 }' <<<"$executables")
  LEDGER=$(awk '$1 == "ledger" { print $2 }' <<<"$executables")
fi
[ "$#" -gt 0 ] || set -- 1000 10000 100000 1000000

if [ -n "${LEDGER_URL:-}" ]; then
  exec "$LEDGER" "$LEDGER_URL" measure "$@"
fi

folder=$(mktemp -d -p "${FOLDER:-${TMPDIR:-/tmp}}")
service=
finish() {
  if [ -n "$service" ]; then kill "$service" 2>/dev/null || true; fi
  wait
  rm -rf "$folder"
}
trap finish EXIT

"$LEDGER" "$folder/ledger.db" measure "$@"

# The rows wait for a year: what is measured is a start, not the work.
python3 - "$folder" <<'PYTHON'
import sqlite3, sys, time
folder = sys.argv[1]
sqlite3.connect(f"{folder}/app.db").execute("CREATE TABLE users (id TEXT, email TEXT)")
ledger = sqlite3.connect(f"{folder}/ledger.db")
now = int(time.time() * 1000)
with ledger:
    ledger.execute("UPDATE work SET run_at = ? WHERE run_at < ?", (now + 365 * 86_400_000, now + 365 * 86_400_000))
rows = ledger.execute("SELECT count(*) FROM work").fetchone()[0]
ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
print(f"\n{rows} rows of work in {ledger.execute('SELECT page_count * page_size FROM pragma_page_count, pragma_page_size').fetchone()[0] // 1_000_000} MB")
PYTHON
printf '[users]\nquery = "SELECT id, email FROM users WHERE email = :email"\n' >"$folder/crisp-sync.toml"

# How long from its start until /readyz says so; then what it costs to do nothing.
python3 - "$PROGRAM" "$folder" <<'PYTHON'
import os, socket, subprocess, sys, time
program, folder = sys.argv[1:]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
environment = {
    **os.environ,
    "CRISP_SYNC_CONFIG": f"{folder}/crisp-sync.toml", "CRISP_SYNC_LEDGER": f"{folder}/ledger.db",
    "CRISP_SYNC_LISTEN": f"127.0.0.1:{port}", "CRISP_SYNC_OPS_LISTEN": "127.0.0.1:0", "CRISP_BASE_URL": "http://127.0.0.1:1/v1/",
    "CRISP_TOKEN_IDENTIFIER": "idle", "CRISP_TOKEN_KEY": "idle", "CRISP_SIGNING_SECRETS": "idle",
    "DATABASE_URL": f"sqlite://{folder}/app.db",
}

def start():
    began = time.monotonic()
    service = subprocess.Popen([program, "serve"], env=environment, stderr=open(f"{folder}/service.log", "w"))
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if b" 200 " in connection.recv(64):
                    return service, time.monotonic() - began
        except OSError:
            pass
        if service.poll() is not None or time.monotonic() - began > 30:
            sys.exit(f"the service does not become ready:\n{open(f'{folder}/service.log').read()}")
        time.sleep(0.001)

times = []
for turn in range(5):
    service, took = start()
    times.append(took * 1000)
    if turn < 4:
        service.terminate()
        service.wait()
print(f"start to ready: {sorted(times)[2]:.0f} ms (median of 5; longest {max(times):.0f} ms)")

def cpu():
    fields = open(f"/proc/{service.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

def resident():
    line = next(line for line in open(f"/proc/{service.pid}/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

time.sleep(5)
before = cpu()
time.sleep(30)
print(f"idle: {(cpu() - before) * 1000 / 30:.1f} ms of processor a second over 30 s, {resident():.1f} MB resident")
service.terminate()
service.wait()
PYTHON
