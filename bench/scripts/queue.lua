-- Publishes a message, receives one, confirms what was received, and counts the confirmations.
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(arguments)
  message, received, turn, good, bad = arguments[1], {}, 0, 0, 0
  plain = { ["Content-Type"] = "application/json" }
end
function request()
  local id = table.remove(received)
  if id then return wrk.format("PATCH", "/" .. id) end
  turn = turn + 1
  if turn % 2 == 1 then return wrk.format("POST", "/", plain, message) end
  return wrk.format("GET", "/?amount=1")
end
function response(status, _, body)
  if status == 204 then good = good + 1
  elseif status == 200 then for id in string.gmatch(body, '"id": *"?([%w-]+)') do table.insert(received, id) end
  elseif status ~= 201 then bad = bad + 1 end
end
function done(summary)
  local good, bad = 0, 0
  for _, thread in ipairs(threads) do good, bad = good + thread:get("good"), bad + thread:get("bad") end
  local errors = summary.errors
  bad = bad + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('{"good": %d, "bad": %d, "seconds": %f}\n', good, bad, summary.duration / 1e6))
end
