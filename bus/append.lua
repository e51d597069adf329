-- Appends events once for each token, whole or not at all.
-- KEYS: the mark of the token, the delayed set, the streams. ARGV: seconds the mark is kept, then (position, body) pairs.
-- The mark is written first: a Redis at its maxmemory refuses a script's first write, so nothing is half appended.
if not redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[1]) then
  return redis.call('GET', KEYS[1])
end
local ids = {}
for at = 2, #ARGV, 2 do
  ids[#ids + 1] = redis.call('XADD', KEYS[tonumber(ARGV[at]) + 1], '*', 'e', ARGV[at + 1])
end
local answer = table.concat(ids, ' ')
redis.call('SET', KEYS[1], answer, 'KEEPTTL')
return answer
