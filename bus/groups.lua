-- Makes a consumer group, and the stream with it, from the very first entry; leaves one that exists. KEYS: streams. ARGV: group.
-- Returns how many were made.
local made = 0
for _, stream in ipairs(KEYS) do
  local found = false
  if redis.call('EXISTS', stream) == 1 then
    for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
      found = found or row[2] == ARGV[1]
    end
  end
  if not found then
    redis.call('XGROUP', 'CREATE', stream, ARGV[1], '0', 'MKSTREAM')
    made = made + 1
  end
end
return made
