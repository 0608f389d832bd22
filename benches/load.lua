-- Posts the signed webhooks of a file, one after another, and counts what was not answered 2xx.
-- wrk -s load.lua URL -- FILE

local requests = {}
local next_request = 0
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  refused = 0
  for line in io.lines(arguments[1]) do
    local timestamp, signature, body = line:match("^([^\t]*)\t([^\t]*)\t(.*)$")
    requests[#requests + 1] = wrk.format("POST", wrk.path, {
      ["Content-Type"] = "application/json",
      ["X-Crisp-Request-Timestamp"] = timestamp,
      ["X-Crisp-Signature"] = signature,
    }, body)
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

function response(status)
  if status < 200 or status > 299 then
    refused = refused + 1
  end
end

function done(summary, latency)
  local refused = 0
  for _, thread in ipairs(threads) do
    refused = refused + thread:get("refused")
  end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format('{"per_second": %.0f, "p50_ms": %.2f, "p99_ms": %.2f, "answered": %d, "refused": %d, "errors": %d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.requests, refused, errors))
end
