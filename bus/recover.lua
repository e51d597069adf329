-- One page of what is already pending for this consumer: the entries of a read whose answer was lost.
-- KEYS: stream. ARGV: group, consumer, cursor, page size. Returns as claim.lua does.
-- XREADGROUP with an id would do the same and count a delivery that never reached a handler.
local stream, group = KEYS[1], ARGV[1]
local limit = tonumber(ARGV[4])
local page = redis.call('XPENDING', stream, group, ARGV[3], '+', limit, ARGV[2])
local taken, vanished = {}, {}
for _, row in ipairs(page) do
  local entry = redis.call('XRANGE', stream, row[1], row[1])
  if #entry == 0 then
    redis.call('XACK', stream, group, row[1])
    vanished[#vanished + 1] = row[1]
  else
    taken[#taken + 1] = {row[1], row[4], entry[1][2]}
  end
end
local cursor = '-'
if #page == limit then
  cursor = '(' .. page[#page][1]
end
return {cursor, taken, vanished}
