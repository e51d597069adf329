-- Lets go of everything that is pending for a consumer, claimable by others at once, and deletes the consumer if it has nothing.
-- KEYS: stream. ARGV: group, consumer, idle time to give (ms), then the ids whose handler was started.
-- What was never started gives its delivery back: the claim that follows counts it again. Returns how many were released.
local stream, group, consumer = KEYS[1], ARGV[1], ARGV[2]
local started = {}
for at = 4, #ARGV do
  started[ARGV[at]] = true
end
local cursor, released = '-', 0
repeat
  local page = redis.call('XPENDING', stream, group, cursor, '+', 500, consumer)
  for _, row in ipairs(page) do
    local count = row[4]
    if not started[row[1]] then
      count = math.max(count - 1, 0)
    end
    redis.call('XCLAIM', stream, group, consumer, 0, row[1], 'IDLE', ARGV[3], 'RETRYCOUNT', count, 'JUSTID')
    released = released + 1
    cursor = '(' .. row[1]
  end
until #page < 500
if released == 0 then
  redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
end
return released
