-- Settles finished entries: the outputs of each appear only where XACK answers 1, so whoever settles first wins.
-- KEYS: the delayed set, the streams. ARGV: group, then for each entry: position of its stream, id, number of outputs,
-- and for each output: position and body, or 1, due (Unix ms) and member for a delayed one.
-- XACK comes first in the script, so that a Redis at its maxmemory lets the rest pass: settling is never done by half.
local group = ARGV[1]
local refused = {}
local at, entry = 2, 0
local last = #ARGV
while at <= last do
  entry = entry + 1
  local mine = redis.call('XACK', KEYS[tonumber(ARGV[at])], group, ARGV[at + 1]) == 1
  if not mine then
    refused[#refused + 1] = entry
  end
  local outputs = tonumber(ARGV[at + 2])
  at = at + 3
  for _ = 1, outputs do
    local position = tonumber(ARGV[at])
    if position == 1 then
      if mine then
        redis.call('ZADD', KEYS[1], ARGV[at + 1], ARGV[at + 2])
      end
      at = at + 3
    else
      if mine then
        redis.call('XADD', KEYS[position], '*', 'e', ARGV[at + 1])
      end
      at = at + 2
    end
  end
end
return refused
