-- Appends events again for one group only, once for each token, whole or not at all: other groups finish them unseen.
-- KEYS: the mark of the token, the delayed set, the streams. ARGV: seconds the mark is kept, the group, then (position, body) pairs.
-- The mark is written first: a Redis at its maxmemory refuses a script's first write, so nothing is half appended.
if not redis.call('SET', KEYS[1], '', 'NX', 'EX', ARGV[1]) then
  return 0
end
for at = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[tonumber(ARGV[at]) + 1], '*', 'e', ARGV[at + 1], 'g', ARGV[2])
end
return (#ARGV - 2) / 2
