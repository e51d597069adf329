-- How much waits for a group. KEYS: streams. ARGV: group.
-- Returns for each stream {length, lag, pending, age of the oldest that is not settled (ms)}.
-- The lag is counted, up to a thousand: Redis 6.2 knows none, and later ones tell far too many after a restart of theirs. Above it, it is
-- what Redis says, and never more than the stream holds. A group that does not exist has a lag of -1.
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
        local unread = redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '+', 'COUNT', 1000)
        local oldest = unread[1] and read_at(unread[1][1]) or now
        row[2] = #unread
        if row[2] == 1000 then
          row[2] = math.max(row[2], math.min(group['lag'] or 0, row[1]))
        end
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
