-- Delivers parked entries to their own consumer again. KEYS: stream. ARGV: group, consumer, then (id, 0 or 1) pairs:
-- 1 counts the delivery. Returns the delivery count of each, 0 where the entry is no longer this consumer's.
-- An entry that was trimmed stays as it is: XCLAIM would drop it from the pending entries, and its consumer still has it.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local counts = {}
for at = 3, #ARGV, 2 do
  local id = ARGV[at]
  local row = redis.call('XPENDING', stream, group, id, id, 1, consumer)[1]
  local deliveries = 0
  if row then
    deliveries = row[4] + tonumber(ARGV[at + 1])
    if #redis.call('XRANGE', stream, id, id) > 0 then
      redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID')
    end
  end
  counts[#counts + 1] = deliveries
end
return counts
