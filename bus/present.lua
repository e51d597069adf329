-- Says that a consumer asks for entries: from then on it exists, and has been idle for no time. KEYS: streams. ARGV: group, consumer.
-- It reads what it holds after an id that no clock reaches, which is nothing: before Redis 7.2 a read that waits in vain says neither.
local words = {'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', '1', 'STREAMS'}
for _, stream in ipairs(KEYS) do
  words[#words + 1] = stream
end
for _ = 1, #KEYS do
  words[#words + 1] = '18446744073709551614'
end
redis.call(unpack(words))
return #KEYS
