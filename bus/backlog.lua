-- How much waits for a group. KEYS: streams. ARGV: group.
-- Returns for each stream {length, lag, pending, age of the oldest that is not settled (ms)}.
-- Redis 6.2 knows no lag: there it is counted, up to a thousand. A group that does not exist has a lag of -1.
local function read_at(id)
  return tonumber(string.match(id, '^%d+'))
end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local answer = {}
for number, stream in ipairs(KEYS) do
  local row = {0, -1, 0, 0}
  if redis.call('EXISTS', stream) == 1 then
    row[1] = redis.call('XLEN', stream)
    for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      local group = {}
      for at = 1, #flat, 2 do
        group[flat[at]] = flat[at + 1]
      end
      if group['name'] == ARGV[1] then
        local first = redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
        local oldest = first and read_at(first[1]) or now
        row[2] = first and (group['lag'] or #redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', 1000)) or 0
        row[3] = group['pending']
        if row[3] > 0 then
          oldest = math.min(oldest, read_at(redis.call('XPENDING', stream, ARGV[1])[2]))
        end
        row[4] = math.max(now - oldest, 0)
      end
    end
  end
  answer[number] = row
end
return answer
