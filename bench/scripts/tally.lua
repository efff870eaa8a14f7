-- What each thread of wrk counted as good and bad, told as one line of JSON.
local threads = {}
good, bad = 0, 0
function setup(thread) table.insert(threads, thread) end
function done(summary)
  local good, bad = 0, 0
  for _, thread in ipairs(threads) do good, bad = good + thread:get("good"), bad + thread:get("bad") end
  local errors = summary.errors
  bad = bad + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('{"good": %d, "bad": %d, "seconds": %f}\n', good, bad, summary.duration / 1e6))
end
