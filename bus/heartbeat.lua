-- Keeps entries with the consumer that holds them: their idle time starts again, their delivery count stays.
-- KEYS: stream. ARGV: group, consumer, ids. Returns the ids that are no longer this consumer's.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local lost = {}
for at = 3, #ARGV do
  local id = ARGV[at]
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then
    lost[#lost + 1] = id
  elseif #redis.call('XRANGE', stream, id, id) > 0 then
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID')
  end
end
return lost
