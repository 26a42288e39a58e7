-- subscription.lua - words to a subscription, moving its place, ending it, and what its instances counted.

local function statistics(a, topic, sub) return a .. ':' .. topic .. ':statistics:' .. sub end

local function told(a, topic, sub) return a .. ':' .. topic .. ':tell:' .. sub end

-- topic, sub, word, reason, who, at (ns): what every instance obeys, and the line that says so. Sent again after a lost answer it is the same word.
register('tell', function(keys, argv)
  local a, key = keys[1], told(keys[1], argv[1], argv[2])
  if redis.call('HGET', key, 'at_ns') == argv[6] then return 0 end
  audit(a, 'action', 'subscription_' .. argv[3], 'who', argv[5], 'detail', 'topic ' .. argv[1] .. ', subscription ' .. argv[2] .. ': ' .. argv[4])
  redis.call('HSET', key, 'word', argv[3], 'reason', argv[4], 'by', argv[5], 'at_ns', argv[6])
  return 1
end)

-- topic, sub, class, id, who: the committed place of a class is where the operator says. The owner is fenced by a token that nobody has, so it
-- acquires again and reads on from there.
register('seek', function(keys, argv)
  local a, key, s, id = keys[1], lease(keys[1], argv[1], argv[2]), stream(keys[1], argv[1], argv[3]), argv[4]
  local _, seq = split(id)
  local moved = redis.pcall('XGROUP', 'SETID', s, argv[2], id, 'ENTRIESREAD', num(seq))
  if moved.err then return redis.error_reply('NOGROUP topic ' .. argv[1] .. ' has no subscription ' .. argv[2]) end
  local from = redis.call('HGET', key, 'floor:' .. argv[3]) or ''
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, 'floor:' .. argv[3], id, 'token', num(redis.call('HINCRBY', key, 'n', 1)) .. ':seek')
  end
  audit(a, 'action', 'seek', 'who', argv[5], 'topic', argv[1], 'subscription', argv[2], 'class', argv[3], 'from', from, 'to', id)
  return 1
end)

-- topic, sub, then field, n: what an instance counted since it said so last. Not to be repeated.
register('count', function(keys, argv)
  local key = statistics(keys[1], argv[1], argv[2])
  for i = 3, #argv, 2 do redis.call('HINCRBY', key, argv[i], argv[i + 1]) end
  return 1
end)

-- Has some reader messages? What was given back is in nobody's hands.
local function in_hand(s, sub)
  local pending = redis.pcall('XPENDING', s, sub)
  for _, c in ipairs(not pending.err and pending[4] or {}) do
    if c[1] ~= RETURNED then return true end
  end
  return false
end

-- topic, sub, who -> how many groups there were
register('detach', function(keys, argv)
  local a, topic, sub, found = keys[1], argv[1], argv[2], 0
  local holder = leased(lease(a, topic, sub), now_ms())
  if holder then
    return redis.error_reply('CONFLICT subscription ' .. sub .. ' of topic ' .. topic .. ' is owned by ' .. holder .. ': stop it first')
  end
  for _, class in ipairs(CLASSES) do
    if in_hand(stream(a, topic, class), sub) then
      return redis.error_reply('CONFLICT subscription ' .. sub .. ' of topic ' .. topic .. ' has messages in hand: stop its workers first')
    end
  end
  for _, class in ipairs(CLASSES) do
    local gone = redis.pcall('XGROUP', 'DESTROY', stream(a, topic, class), sub)
    if type(gone) == 'number' then found = found + gone end
  end
  if found == 0 then return redis.error_reply('NOGROUP topic ' .. topic .. ' has no subscription ' .. sub) end
  forget_settled(a, topic, sub, { critical = true, high = true, normal = true, low = true })
  redis.call('DEL', lease(a, topic, sub), a .. ':' .. topic .. ':probe:' .. sub, told(a, topic, sub), a .. ':' .. topic .. ':weights:' .. sub,
    statistics(a, topic, sub))
  audit(a, 'action', 'detach', 'who', argv[3], 'topic', topic, 'subscription', sub)
  return found
end)
