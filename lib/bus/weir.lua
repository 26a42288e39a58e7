#!lua name=weir1
-- The bus' transitions, each atomic. KEYS[1] is the anchor "weir:{chain}": every key of a chain has its hash tag, so all of them
-- lie in one slot and may be built from it here. Ids are <generation>-<sequence>; numbers pass 2^53 never, so %.0f prints them.

local function num(n) return string.format('%.0f', n) end
local function stream(a, topic, class) return a .. ':' .. topic .. ':' .. class end
local function meta(a, topic) return a .. ':' .. topic .. ':meta' end
local function lease(a, topic, sub) return a .. ':' .. topic .. ':own:' .. sub end
local function now_ms() local t = redis.call('TIME') return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) end
local function split(id) local g, s = string.match(id, '^(%d+)-(%d+)$') return tonumber(g), tonumber(s) end
local function less(a, b) local ag, as = split(a) local bg, bs = split(b) return ag < bg or (ag == bg and as < bs) end

-- Generation of a topic. A new one is above everything that any consumer may remember from before the loss.
local function generation(a, topic)
  local g = redis.call('HGET', meta(a, topic), 'gen')
  if g then return tonumber(g) end
  local gen = tonumber(redis.call('TIME')[1])
  redis.call('HSET', meta(a, topic), 'gen', num(gen))
  return gen
end

local function append(a, topic, class, frame)
  local gen = generation(a, topic)
  local hw = tonumber(redis.call('HGET', meta(a, topic), 'hw:' .. class) or '0') + 1
  redis.call('XADD', stream(a, topic, class), num(gen) .. '-' .. num(hw), 'd', frame)
  redis.call('HSET', meta(a, topic), 'hw:' .. class, num(hw))
  return hw
end

-- Admission: too many unread entries, or Redis itself too full.
local function full(a, topic, class, backlog)
  return redis.call('XLEN', stream(a, topic, class)) >= tonumber(backlog)
end

local function producer_open(keys, argv) -- topic, producer -> epoch
  local f, key = 'p:' .. argv[2], meta(keys[1], argv[1])
  local old = redis.call('HGET', key, f)
  local epoch = now_ms()
  if old then local e = tonumber(string.match(old, '^(%d+)')) if e >= epoch then epoch = e + 1 end end
  redis.call('HSET', key, f, num(epoch) .. ':0')
  return num(epoch)
end

-- topic, producer, epoch, first, backlog, then class, frame, …
local function publish(keys, argv)
  local a, topic = keys[1], argv[1]
  local f, key = 'p:' .. argv[2], meta(a, topic)
  local old = redis.call('HGET', key, f)
  if not old then return redis.error_reply('GAP producer unknown') end
  local epoch, last = string.match(old, '^(%d+):(%d+)$')
  epoch, last = tonumber(epoch), tonumber(last)
  --[[fence]] if tonumber(argv[3]) < epoch then return redis.error_reply('FENCED a newer producer took over') end
  local first, n = tonumber(argv[4]), (#argv - 5) / 2
  --[[sequence]] if first > last + 1 then return redis.error_reply('GAP ' .. num(last)) end
  for i = 0, n - 1 do if full(a, topic, argv[6 + 2 * i], argv[5]) then return redis.error_reply('FULL ' .. argv[6 + 2 * i]) end end
  local added = 0
  for i = 0, n - 1 do
    --[[sequence]] if first + i > last then
      append(a, topic, argv[6 + 2 * i], argv[7 + 2 * i])
      added = added + 1
    --[[sequence]] end
  end
  if first + n - 1 > last then redis.call('HSET', key, f, num(epoch) .. ':' .. num(first + n - 1)) end
  return added
end

-- topic, class, first, restart, frame, … -> tail; -1-tail when a gap lies before first
local function publish_sequence(keys, argv)
  local a, topic, class, first = keys[1], argv[1], argv[2], tonumber(argv[3])
  local key = meta(a, topic)
  local hw = tonumber(redis.call('HGET', key, 'hw:' .. class) or '0')
  if argv[4] == '1' and first ~= hw + 1 then
    local gen = math.max(tonumber(redis.call('HGET', key, 'gen') or '0') + 1, tonumber(redis.call('TIME')[1]))
    redis.call('HSET', key, 'gen', num(gen), 'hw:' .. class, num(first - 1))
    hw = first - 1
  end
  --[[sequence]] if first > hw + 1 then return { 0, num(hw) } end
  local gen = generation(a, topic)
  for i = 5, #argv do
    local s = first + i - 5
    --[[sequence]] if s > hw then
      redis.call('XADD', stream(a, topic, class), num(gen) .. '-' .. num(s), 'd', argv[i])
      hw = s
    --[[sequence]] end
  end
  redis.call('HSET', key, 'hw:' .. class, num(hw))
  return { 1, num(hw) }
end

local function group(a, topic, class, sub)
  redis.pcall('XGROUP', 'CREATE', stream(a, topic, class), sub, '0', 'MKSTREAM')
end

local function groups(keys, argv) -- topic, sub
  for _, class in ipairs({ 'critical', 'high', 'normal', 'low' }) do group(keys[1], argv[1], class, argv[2]) end
  return 1
end

-- Takes a letter out of the dead-letter queue for good.
local function settle_letter(a, sub, letter)
  local found = redis.call('XRANGE', a .. ':dlq:' .. sub, letter, letter)
  redis.call('ZREM', a .. ':rpl:' .. sub, letter)
  redis.call('ZREM', a .. ':rpi:' .. sub, letter)
  if #found == 0 then return 0 end
  local f = {}
  for i = 1, #found[1][2], 2 do f[found[1][2][i]] = found[1][2][i + 1] end
  redis.call('XDEL', a .. ':dlq:' .. sub, letter)
  redis.call('HDEL', a .. ':dlqi:' .. sub, f['topic'] .. '/' .. f['class'] .. '/' .. f['entry'])
  if f['key'] ~= '' and redis.call('HINCRBY', a .. ':park:' .. sub, f['key'], -1) <= 0 then redis.call('HDEL', a .. ':park:' .. sub, f['key']) end
  return 1
end

-- Idempotent by entry. kind: head or follower.
local function park(a, sub, topic, class, entry, key, type, code, kind, body)
  local index = topic .. '/' .. class .. '/' .. entry
  local old = redis.call('HGET', a .. ':dlqi:' .. sub, index)
  if old then return old end
  local id = redis.call('XADD', a .. ':dlq:' .. sub, '*', 'topic', topic, 'class', class, 'entry', entry, 'key', key, 'type', type,
    'reason', code, 'kind', kind, 'd', body)
  redis.call('HSET', a .. ':dlqi:' .. sub, index, id)
  --[[follow]] if key ~= '' then redis.call('HINCRBY', a .. ':park:' .. sub, key, 1) end
  return id
end

-- Acknowledges on a shared lane. A topic that only this group reads forgets the entry at once.
local function acknowledge(a, sub, topic, class, id)
  local s = stream(a, topic, class)
  local got = redis.call('XACK', s, sub, id)
  if got == 1 and #redis.call('XINFO', 'GROUPS', s) == 1 then redis.call('XDEL', s, id) end
  return got
end

-- sub, backlog, then per message: topic, class, id, letter, outcome, key, type, code, body, n, n x (topic, class, frame)
local function step(keys, argv)
  local a, sub, backlog, at, out = keys[1], argv[1], argv[2], 3, {}
  local emits = {}
  while at <= #argv do -- admission first: all or nothing
    local n = tonumber(argv[at + 9])
    for i = 0, n - 1 do
      local e = at + 10 + 3 * i
      if full(a, argv[e], argv[e + 1], backlog) then return redis.error_reply('FULL ' .. argv[e]) end
    end
    at = at + 10 + 3 * n
  end
  at = 3
  while at <= #argv do
    local topic, class, id, letter, outcome = argv[at], argv[at + 1], argv[at + 2], argv[at + 3], argv[at + 4]
    local n, counts = tonumber(argv[at + 9]), 0
    if outcome == 'retry' then
      redis.call('HINCRBY', a .. ':att:' .. sub, topic .. '/' .. class .. '/' .. id, 1)
      counts = 1
    elseif letter ~= '' then
      if outcome == 'done' then counts = settle_letter(a, sub, letter)
      else redis.call('ZREM', a .. ':rpi:' .. sub, letter) redis.call('HINCRBY', a .. ':dlqr:' .. sub, letter, 1) end
    else
      counts = acknowledge(a, sub, topic, class, id)
      redis.call('HDEL', a .. ':att:' .. sub, topic .. '/' .. class .. '/' .. id)
      if counts == 1 and outcome == 'reject' then
        park(a, sub, topic, class, id, argv[at + 5], argv[at + 6], argv[at + 7], 'head', argv[at + 8])
      end
    end
    --[[ack]] if counts == 1 and outcome == 'done' then
      for i = 0, n - 1 do local e = at + 10 + 3 * i append(a, argv[e], argv[e + 1], argv[e + 2]) end
    --[[ack]] end
    out[#out + 1] = counts
    at = at + 10 + 3 * n
  end
  return out
end

-- topic, sub, owner, ttl, nonce -> {1, token, floors…} or {0, owner, ms left}
local function acquire(keys, argv)
  local key, now = lease(keys[1], argv[1], argv[2]), now_ms()
  local h = redis.call('HMGET', key, 'owner', 'until')
  if h[1] and h[1] ~= '' and h[1] ~= argv[3] and tonumber(h[2]) > now then return { 0, h[1], num(tonumber(h[2]) - now) } end
  local token = num(redis.call('HINCRBY', key, 'n', 1)) .. ':' .. argv[5]
  redis.call('HSET', key, 'token', token, 'owner', argv[3], 'until', num(now + tonumber(argv[4])))
  local out = { 1, token }
  for _, class in ipairs({ 'critical', 'high', 'normal', 'low' }) do
    group(keys[1], argv[1], class, argv[2])
    out[#out + 1] = redis.call('HGET', key, 'floor:' .. class) or '0-0'
  end
  return out
end

local function fenced(key, token)
  --[[fence]] if redis.call('HGET', key, 'token') ~= token then return redis.error_reply('FENCED the lease has another holder') end
  return nil
end

local function renew(keys, argv) -- topic, sub, token, ttl
  local key = lease(keys[1], argv[1], argv[2])
  local no = fenced(key, argv[3]) if no then return no end
  redis.call('HSET', key, 'until', num(now_ms() + tonumber(argv[4])))
  return 1
end

local function release(keys, argv) -- topic, sub, token
  local key = lease(keys[1], argv[1], argv[2])
  if redis.call('HGET', key, 'token') == argv[3] then redis.call('HSET', key, 'owner', '', 'until', '0') end
  return 1
end

local function commit(keys, argv) -- topic, sub, token, ttl, class, id
  local a, key, class, id = keys[1], lease(keys[1], argv[1], argv[2]), argv[5], argv[6]
  local no = fenced(key, argv[3]) if no then return no end
  local old = redis.call('HGET', key, 'floor:' .. class) or '0-0'
  if less(old, id) then
    local _, seq = split(id)
    local s = stream(a, argv[1], class)
    group(a, argv[1], class, argv[2])
    redis.call('XGROUP', 'SETID', s, argv[2], id, 'ENTRIESREAD', num(seq))
    redis.call('HSET', key, 'floor:' .. class, id)
  end
  redis.call('HSET', key, 'until', num(now_ms() + tonumber(argv[4])))
  return 1
end

-- topic, sub, token, class, entry, key, type, code, kind, body -> letter id
local function owner_park(keys, argv)
  local no = fenced(lease(keys[1], argv[1], argv[2]), argv[3]) if no then return no end
  return park(keys[1], argv[2], argv[1], argv[4], argv[5], argv[6], argv[7], argv[8], argv[9], argv[10])
end

local function resolve(keys, argv) -- topic, sub, token, letter
  local no = fenced(lease(keys[1], argv[1], argv[2]), argv[3]) if no then return no end
  return settle_letter(keys[1], argv[2], argv[4])
end

-- sub, n, hold ms -> letters taken for replay, oldest first; what was taken and not settled in time comes back
local function take_replays(keys, argv)
  local a, sub, now = keys[1], argv[1], now_ms()
  local late = redis.call('ZRANGEBYSCORE', a .. ':rpi:' .. sub, '-inf', num(now))
  for _, id in ipairs(late) do
    redis.call('ZREM', a .. ':rpi:' .. sub, id)
    redis.call('ZADD', a .. ':rpl:' .. sub, num(split(id)), id)
  end
  local out = {}
  for _, id in ipairs(redis.call('ZRANGE', a .. ':rpl:' .. sub, 0, tonumber(argv[2]) - 1)) do
    redis.call('ZREM', a .. ':rpl:' .. sub, id)
    local e = redis.call('XRANGE', a .. ':dlq:' .. sub, id, id)
    if #e == 1 then
      redis.call('ZADD', a .. ':rpi:' .. sub, num(now + tonumber(argv[3])), id)
      out[#out + 1] = e[1]
    end
  end
  return out
end

local function mark_replay(keys, argv) -- sub, who, id, …
  local n = 0
  for i = 3, #argv do
    if #redis.call('XRANGE', keys[1] .. ':dlq:' .. argv[1], argv[i], argv[i]) == 1 then
      n = n + redis.call('ZADD', keys[1] .. ':rpl:' .. argv[1], 'NX', num(split(argv[i])), argv[i])
    end
  end
  redis.call('XADD', keys[1] .. ':audit', 'MAXLEN', '~', '100000', '*', 'action', 'replay', 'who', argv[2], 'subscription', argv[1], 'count', num(n))
  return n
end

local function purge(keys, argv) -- sub, who, why, id, …
  local n = 0
  for i = 4, #argv do n = n + settle_letter(keys[1], argv[1], argv[i]) end
  redis.call('XADD', keys[1] .. ':audit', 'MAXLEN', '~', '100000', '*', 'action', 'purge', 'who', argv[2], 'why', argv[3], 'subscription', argv[1],
    'count', num(n))
  return n
end

-- topic, keep: cuts each stream behind the slowest group, keeping at least the newest `keep`
local function trim(keys, argv)
  local a, topic, keep, cut = keys[1], argv[1], tonumber(argv[2]), 0
  for _, class in ipairs({ 'critical', 'high', 'normal', 'low' }) do
    local s = stream(a, topic, class)
    if redis.call('EXISTS', s) == 1 then
      local list, low = redis.call('XINFO', 'GROUPS', s), nil
      for _, g in ipairs(list) do
        local f = {}
        for i = 1, #g, 2 do f[g[i]] = g[i + 1] end
        local id = f['last-delivered-id']
        local gen, seq = split(id)
        local next = num(gen) .. '-' .. num(seq + 1)
        if f['pending'] > 0 then
          local p = redis.call('XPENDING', s, f['name'])
          if less(p[2], next) then next = p[2] end
        end
        if not low or less(next, low) then low = next end
      end
      local length = redis.call('XLEN', s)
      if length > keep then
        local last = redis.call('XREVRANGE', s, '+', '-', 'COUNT', 1)
        if keep > 0 and #last == 1 then
          local gen, seq = split(last[1][1])
          local oldest = num(gen) .. '-' .. num(math.max(seq - keep + 1, 0))
          if not low or less(oldest, low) then low = oldest end
        end
        if low then cut = cut + redis.call('XTRIM', s, 'MINID', low) end
      end
    end
  end
  return cut
end

redis.register_function('weir1_producer_open', producer_open)
redis.register_function('weir1_publish', publish)
redis.register_function('weir1_publish_sequence', publish_sequence)
redis.register_function('weir1_groups', groups)
redis.register_function('weir1_step', step)
redis.register_function('weir1_acquire', acquire)
redis.register_function('weir1_renew', renew)
redis.register_function('weir1_release', release)
redis.register_function('weir1_commit', commit)
redis.register_function('weir1_owner_park', owner_park)
redis.register_function('weir1_resolve', resolve)
redis.register_function('weir1_take_replays', take_replays)
redis.register_function('weir1_mark_replay', mark_replay)
redis.register_function('weir1_purge', purge)
redis.register_function('weir1_trim', trim)
