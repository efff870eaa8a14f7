-- Posts the same job again and again, and counts the 202.
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(arguments)
  wrk.method, wrk.body = "POST", arguments[1]
  wrk.headers["Content-Type"] = "application/json"
  good, bad = 0, 0
end
function response(status) if status == 202 then good = good + 1 else bad = bad + 1 end end
function done(summary)
  local good, bad = 0, 0
  for _, thread in ipairs(threads) do good, bad = good + thread:get("good"), bad + thread:get("bad") end
  local errors = summary.errors
  bad = bad + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('{"good": %d, "bad": %d, "seconds": %f}\n', good, bad, summary.duration / 1e6))
end
