-- Appends one page of the log again and remembers how far that was, together or not at all; 0 where another went on from there first.
-- KEYS: the mark, the delayed set, the streams. ARGV: the mark as it was read, as it is afterwards, then (position, body) pairs.
-- The mark is written first: a Redis at its maxmemory refuses a script's first write, so no page is half appended.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
for at = 3, #ARGV, 2 do
  redis.call('XADD', KEYS[tonumber(ARGV[at]) + 1], '*', 'e', ARGV[at + 1])
end
return 1
