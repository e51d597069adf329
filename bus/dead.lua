-- Replays or drops a dead letter, once. KEYS: the dead letters, and for a replay the stream it came from.
-- ARGV: entry id, 1 to go ahead although a group has not finished it, and for a replay its bytes and the one group they are for.
-- Returns `done`, `gone`, or the name of a group that has not finished the dead letter.
-- XDEL is the gate: it answers 1 to one caller only, and deletes even in a Redis at its maxmemory.
local stream, id = KEYS[1], ARGV[1]
if #redis.call('XRANGE', stream, id, id) == 0 then
  return 'gone'
end
if ARGV[2] ~= '1' then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = {}
    for at = 1, #flat, 2 do
      group[flat[at]] = flat[at + 1]
    end
    local unread = #redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], id, 'COUNT', 1) > 0
    if unread or #redis.call('XPENDING', stream, group['name'], id, id, 1) > 0 then
      return group['name']
    end
  end
end
redis.call('XDEL', stream, id)
if KEYS[2] then
  redis.call('XADD', KEYS[2], '*', 'e', ARGV[3], 'g', ARGV[4])
end
return 'done'
