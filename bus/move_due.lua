-- Moves delayed events whose time has come to their streams. KEYS: delayed set. ARGV: now (Unix ms), how many at most.
-- Returns {moved, due time of the next or -1}. A member is `topic`, a newline, and the event's bytes; the stream's name is
-- built here from the key's own prefix, so that it has the same hash tag.
-- ZREM comes first: it frees memory, so time goes on in a Redis at its maxmemory.
local prefix = string.sub(KEYS[1], 1, -8)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do
  redis.call('ZREM', KEYS[1], member)
  local cut = string.find(member, '\n', 1, true)
  if cut then
    redis.call('XADD', prefix .. string.sub(member, 1, cut - 1), '*', 'e', string.sub(member, cut + 1))
  end
end
local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {#due, next[2] or '-1'}
