-- subscription.lua - moving a subscription's place, ending it, and what its instances counted.

local function statistics(a, topic, sub) return a .. ':' .. topic .. ':statistics:' .. sub end

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

-- topic, sub, who -> how many groups there were
register('detach', function(keys, argv)
  local a, topic, sub, found = keys[1], argv[1], argv[2], 0
  local holder = leased(lease(a, topic, sub), now_ms())
  if holder then
    return redis.error_reply('CONFLICT subscription ' .. sub .. ' of topic ' .. topic .. ' is owned by ' .. holder .. ': stop it first')
  end
  for _, class in ipairs(CLASSES) do
    for _, g in ipairs(groups_of(stream(a, topic, class))) do
      if g['name'] == sub and g['pending'] > 0 then
        return redis.error_reply('CONFLICT subscription ' .. sub .. ' of topic ' .. topic .. ' has messages in hand: stop its workers first')
      end
    end
  end
  for _, class in ipairs(CLASSES) do
    local gone = redis.pcall('XGROUP', 'DESTROY', stream(a, topic, class), sub)
    if type(gone) == 'number' then found = found + gone end
  end
  if found == 0 then return redis.error_reply('NOGROUP topic ' .. topic .. ' has no subscription ' .. sub) end
  redis.call('DEL', lease(a, topic, sub), a .. ':' .. topic .. ':probe:' .. sub, a .. ':' .. topic .. ':tell:' .. sub, a .. ':' .. topic .. ':weights:' .. sub,
    statistics(a, topic, sub))
  audit(a, 'action', 'detach', 'who', argv[3], 'topic', topic, 'subscription', sub)
  return found
end)
