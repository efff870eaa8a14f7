-- Posts the same job again and again, and counts the 202.
require "tally"
function init(arguments)
  wrk.method, wrk.body = "POST", arguments[1]
  wrk.headers["Content-Type"] = "application/json"
end
function response(status) if status == 202 then good = good + 1 else bad = bad + 1 end end
