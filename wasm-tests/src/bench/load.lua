-- A load for wrk: GETs whose `Authorization` comes from a file, one value a line; an empty line is a request without it.
--   wrk … -s load.lua URL -- FILE MODE
-- After the last line, the mode `cycle` begins again, `once` ends the run, and `count` begins again and counts the
-- answers by status. The results follow the word RESULT, as one line of JSON.

local threads, lines, at, answers = {}, {}, 0, 0
seen = {} -- global, so that `done` can read it out of each thread

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

function init(args)
  for line in io.lines(args[1]) do
    local headers = {}
    if line ~= "" then headers["Authorization"] = line end
    lines[#lines + 1] = wrk.format("GET", wrk.path, headers)
  end
  -- Threads begin far from each other, so that they don't send the same tokens at the same time.
  at = math.floor(number * #lines / 2)
  if args[2] == "cycle" then return end
  local once = args[2] == "once"
  -- Defined only here: wrk gathers the headers of every answer for it.
  function response(status)
    local key = tostring(status)
    seen[key] = (seen[key] or 0) + 1
    answers = answers + 1
    if once and answers == #lines then wrk.thread:stop() end
  end
end

function request()
  at = at % #lines + 1
  return lines[at]
end

function done(summary, latency)
  local statuses, parts = {}, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("seen")) do statuses[status] = (statuses[status] or 0) + count end
  end
  for status, count in pairs(statuses) do parts[#parts + 1] = string.format('"%s":%d', status, count) end
  local errors = summary.errors
  print(string.format(
    'RESULT {"requests":%d,"seconds":%f,"p50_ms":%f,"p95_ms":%f,"p99_ms":%f,"refused":%d,"broken":%d,"statuses":{%s}}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout, table.concat(parts, ",")))
end
