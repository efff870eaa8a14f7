-- Publishes a message, receives one, confirms what was received, and counts the confirmations.
require "tally"
function init(arguments)
  message, received, turn = arguments[1], {}, 0
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
