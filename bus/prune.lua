-- Deletes consumers that have been away and have nothing pending. KEYS: stream. ARGV: group, idle time (ms).
-- Deleting a consumer drops its pending entries, so looking and deleting are one script.
local deleted = 0
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for at = 1, #row, 2 do
    consumer[row[at]] = row[at + 1]
  end
  if consumer['pending'] == 0 and consumer['idle'] >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
    deleted = deleted + 1
  end
end
return deleted
