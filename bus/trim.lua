-- Trims what every group has finished. KEYS: stream. ARGV: id below which trimming must stay or `+`, then the expected groups.
-- Returns {entries trimmed, the group that holds the oldest entry or that is missing, first id that was kept}; -1 trimmed: a group is missing.
-- Groups that nobody expected are respected as well. Ids are compared as padded text: Lua's numbers do not hold 64 bits.
local stream = KEYS[1]
local function padded(id)
  local time, sequence = string.match(id, '^(%d+)-(%d+)$')
  return string.rep('0', 20 - #time) .. time .. string.rep('0', 20 - #sequence) .. sequence
end
local function after(id)
  local time, sequence = string.match(id, '^(%d+)-(%d+)$')
  if #sequence > 15 then
    return id
  end
  return time .. '-' .. string.format('%.0f', tonumber(sequence) + 1)
end
if redis.call('EXISTS', stream) == 0 then
  return {0, '', ''}
end
local finished = {}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = {}
  for at = 1, #flat, 2 do
    group[flat[at]] = flat[at + 1]
  end
  local pending = redis.call('XPENDING', stream, group['name'])
  finished[group['name']] = pending[1] > 0 and pending[2] or after(group['last-delivered-id'])
end
local low, holder = ARGV[1], 'age'
for at = 2, #ARGV do
  if not finished[ARGV[at]] then
    return {-1, ARGV[at], ''}
  end
end
for name, id in pairs(finished) do
  if low == '+' or padded(id) < padded(low) then
    low, holder = id, name
  end
end
if low == '+' then
  return {0, '', ''}
end
-- whole nodes first, some at a time, so that a long backlog never blocks the server; then the rest of one node exactly
local trimmed = redis.call('XTRIM', stream, 'MINID', '~', low, 'LIMIT', 10000)
if trimmed == 0 then
  trimmed = redis.call('XTRIM', stream, 'MINID', '=', low)
end
return {trimmed, holder, low}
