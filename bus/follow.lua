-- What came after a position in each stream. KEYS: streams; ARGV: how many entries, then a position for each stream.
-- Answers the time in seconds, then for each: the id of its first entry or '', the last id it ever gave, and the entries. All at one moment: nothing is trimmed
-- between the look at the first entry and the reading.
local told = { redis.call('TIME')[1] }
for place, key in ipairs(KEYS) do
  local last = '0-0'
  local info = redis.pcall('XINFO', 'STREAM', key)
  if not info.err then
    for field = 1, #info, 2 do
      if info[field] == 'last-generated-id' then last = info[field + 1] end
    end
  end
  local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)
  local entries = redis.call('XRANGE', key, '(' .. ARGV[place + 1], '+', 'COUNT', ARGV[1])
  told[place + 1] = { first[1] and first[1][1] or '', last, entries }
end
return told
