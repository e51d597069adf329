-- Takes over entries that nobody has touched for a while, from a kept cursor.
-- KEYS: stream. ARGV: group, consumer, idle (ms), cursor, page size, deliveries that make a suspect, suspects wanted.
-- Returns {next cursor, {{id, deliveries, fields} …}, {ids of vanished entries}}.
-- This is XAUTOCLAIM with three differences: it tells the delivery counts, it names vanished entries (6.2 answers a bare
-- nil for them), and it takes suspects, which were lost with their consumer more than once, only as many as are wanted:
-- an event that kills its worker must not drag its neighbours to the limit of attempts.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local limit, suspect, wanted = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local page = redis.call('XPENDING', stream, group, 'IDLE', ARGV[3], ARGV[4], '+', limit)
local taken, vanished = {}, {}
for _, row in ipairs(page) do
  local id, deliveries = row[1], row[4]
  local entry = redis.call('XRANGE', stream, id, id)
  if #entry == 0 then
    redis.call('XACK', stream, group, id)
    vanished[#vanished + 1] = id
  elseif deliveries < suspect or wanted > 0 then
    if deliveries >= suspect then
      wanted = wanted - 1
    end
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', deliveries + 1, 'JUSTID')
    taken[#taken + 1] = {id, deliveries + 1, entry[1][2]}
  end
end
local cursor = '-'
if #page == limit then
  cursor = '(' .. page[#page][1]
end
return {cursor, taken, vanished}
