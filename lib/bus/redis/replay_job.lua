-- replay_job.lua - replays as jobs: which letters, how fast, how many at a time, and when to stop. Nobody drives a job: the lane that asks
-- for letters to try again (take_replays) moves it on, so it survives the end of every process, and what it says is what Redis says.
--
-- Keys: job:<id> (a hash: the order and its progress), job:<id>:ready (letters that may be offered, in order), job:<id>:out (offered and
-- not settled), job:<id>:ids (the letters named, if some were); per subscription: jobs (by time), jobsr (running), jobk (idempotency key ->
-- job and order), rpw (letter -> its job), rpo (ordered lane: key -> the job that walks it).

local JOBS_KEEP = 1000
local PUMP_MAX = 1000    -- letters offered at once
local SELECT_MAX = 4000  -- letters looked at for that
local STOP_SAMPLE = 20   -- replays that must have ended before their failures tell something

local function job_key(a, id) return a .. ':job:' .. id end

local function job_active(a, id)
  local state = redis.call('HGET', job_key(a, id), 'state')
  return state == 'running' or state == 'paused'
end

local function job_end(a, id, state, who, why)
  local key = job_key(a, id)
  local j = redis.call('HMGET', key, 'sub', 'ok', 'failed')
  redis.call('HSET', key, 'state', state, 'finished', num(now_ms()))
  redis.call('SREM', a .. ':jobsr:' .. j[1], id)
  redis.call('DEL', key .. ':ready', key .. ':ids')
  audit(a, 'action', 'replay job ' .. state, 'who', who, 'why', why, 'subscription', j[1], 'job', id, 'succeeded', j[2], 'failed', j[3])
end

local function job_finish(a, id)
  local key = job_key(a, id)
  if redis.call('SCARD', key .. ':out') > 0 or redis.call('LLEN', key .. ':ready') > 0 then return end
  local j = redis.call('HMGET', key, 'state', 'exhausted', 'who')
  if j[1] == 'running' and j[2] == '1' then
    job_end(a, id, 'done', j[3], '')
  end
end

-- Somebody wants this letter tried at once, whatever becomes of the job.
local function replay_asked(a, sub, letter)
  if redis.call('SISMEMBER', a .. ':rpm:' .. sub, letter) == 1 then return true end
  local f = letter_fields(a, sub, letter)
  return f and in_order(f) and redis.call('SISMEMBER', a .. ':rpk:' .. sub, key_of(f)) == 1
end

-- Takes back what was offered and nobody took. Its letters are ready again, in their order.
local function job_withdraw(a, sub, id)
  local key, back = job_key(a, id), {}
  for _, letter in ipairs(redis.call('SMEMBERS', key .. ':out')) do
    if redis.call('ZSCORE', a .. ':rpl:' .. sub, letter) and not replay_asked(a, sub, letter) then
      redis.call('ZREM', a .. ':rpl:' .. sub, letter)
      back[#back + 1] = letter
    end
  end
  table.sort(back, function(x, y) return less(y, x) end)
  for _, letter in ipairs(back) do
    redis.call('SREM', key .. ':out', letter)
    redis.call('HDEL', a .. ':rpw:' .. sub, letter)
    redis.call('LPUSH', key .. ':ready', letter)
  end
end

local function job_pause(a, id, who, why)
  local key = job_key(a, id)
  local sub = redis.call('HGET', key, 'sub')
  redis.call('HSET', key, 'state', 'paused', 'note', why)
  redis.call('SREM', a .. ':jobsr:' .. sub, id)
  job_withdraw(a, sub, id)
  audit(a, 'action', 'replay job paused', 'who', who, 'why', why, 'subscription', sub, 'job', id)
end

-- The share of replays that fail again says whether going on makes sense.
local function job_judge(a, id)
  local j = fields(redis.call('HGETALL', job_key(a, id)))
  local failed, stop = tonumber(j.failed) - tonumber(j.base_failed), tonumber(j.stop)
  local ended = failed + tonumber(j.ok) - tonumber(j.base_ok)
  if j.state ~= 'running' or stop == 0 or ended < math.min(STOP_SAMPLE, tonumber(j.total)) or failed * 100 < stop * ended then return end
  job_pause(a, id, 'weir', num(failed) .. ' of ' .. num(ended) .. ' replays failed again: resume it when the cause is gone, or cancel it')
end

-- At most as many letters as one command may name.
job_settled = function(a, sub, letters, how)
  local of = {} -- job -> its letters
  for i, id in ipairs(redis.call('HMGET', a .. ':rpw:' .. sub, unpack(letters))) do
    if id then
      of[id] = of[id] or {}
      table.insert(of[id], letters[i])
    end
  end
  for id, list in pairs(of) do
    redis.call('HDEL', a .. ':rpw:' .. sub, unpack(list))
    local n = redis.call('SREM', job_key(a, id) .. ':out', unpack(list))
    if n > 0 then redis.call('HINCRBY', job_key(a, id), how, num(n)) end
    if n > 0 and how == 'failed' then job_judge(a, id) end
    job_finish(a, id)
  end
end

-- The first letters of these keys were settled: the jobs that walk them go on with the next ones.
jobs_next = function(a, sub, keys, first)
  local active, ready, over = {}, {}, {}
  if #keys == 0 then return end
  for i, id in ipairs(redis.call('HMGET', a .. ':rpo:' .. sub, unpack(keys))) do
    if id then
      if active[id] == nil then active[id] = job_active(a, id) end
      if active[id] then
        ready[id] = ready[id] or {}
        table.insert(ready[id], first[keys[i]])
      else
        over[#over + 1] = keys[i]
      end
    end
  end
  for id, letters in pairs(ready) do call_many(letters, 'RPUSH', job_key(a, id) .. ':ready') end
  call_many(over, 'HDEL', a .. ':rpo:' .. sub)
end

-- ---- moving on ---------------------------------------------------------------------------------------------------------------

-- A letter that the order names, or the first of its key, becomes ready. A key that is walked already needs nothing.
local function job_choose(a, sub, id, letter, f)
  if not f then
    redis.call('HINCRBY', job_key(a, id), 'gone', 1)
  elseif not in_order(f) then
    redis.call('RPUSH', job_key(a, id) .. ':ready', letter)
  elseif redis.call('SISMEMBER', a .. ':rpk:' .. sub, key_of(f)) == 0 then
    local owners = a .. ':rpo:' .. sub
    local owner = redis.call('HGET', owners, key_of(f))
    if owner and (owner == id or job_active(a, owner)) then return end
    redis.call('HSET', owners, key_of(f), id)
    redis.call('RPUSH', job_key(a, id) .. ':ready', redis.call('LINDEX', letters_of(a, sub, key_of(f)), 0))
  end
end

-- Makes at least n letters ready, as far as the order goes.
local function job_refill(a, sub, id, j, n)
  local key, looked, ordered = job_key(a, id), 0, redis.call('EXISTS', a .. ':park:' .. sub) == 1
  while j.exhausted ~= '1' and looked < SELECT_MAX and redis.call('LLEN', key .. ':ready') < n do
    local ids
    if j.named == '1' then
      ids = redis.call('ZRANGEBYLEX', key .. ':ids', j.cursor == '' and '-' or '(' .. padded(j.cursor), '+', 'LIMIT', 0, n)
      for i, p in ipairs(ids) do ids[i] = unpadded(p) end
    else
      ids = select_ids(a, sub, j, j.cursor, n)
    end
    if ordered then
      local known = letters_beside(a, sub, ids)
      for _, letter in ipairs(ids) do job_choose(a, sub, id, letter, known[letter] or letter_fields(a, sub, letter)) end
    else -- without parked keys nothing waits in order
      call_many(ids, 'RPUSH', key .. ':ready')
    end
    j.cursor = ids[#ids] or j.cursor
    looked = looked + #ids
    if #ids < n then j.exhausted = '1' end
  end
  redis.call('HSET', key, 'cursor', j.cursor, 'exhausted', j.exhausted)
end

-- To the lane, unless it has them in hand already or another job offers them. Returns how many.
local function job_offer(a, sub, id, letters)
  local mine, offers, words = {}, {}, {}
  if #letters == 0 then return 0 end
  for i, other in ipairs(redis.call('HMGET', a .. ':rpw:' .. sub, unpack(letters))) do
    if not other then
      mine[#mine + 1] = letters[i]
      words[#words + 1], words[#words + 2] = letters[i], id
    end
  end
  if #mine == 0 then return 0 end
  call_many(words, 'HSET', a .. ':rpw:' .. sub)
  for i, taken in ipairs(redis.call('ZMSCORE', a .. ':rpi:' .. sub, unpack(mine))) do
    if not taken then
      offers[#offers + 1] = age(mine[i])
      offers[#offers + 1] = mine[i]
    end
  end
  call_many(mine, 'SADD', job_key(a, id) .. ':out')
  call_many(offers, 'ZADD', a .. ':rpl:' .. sub, 'NX')
  return #mine
end

local function job_move(a, sub, id, now)
  local key = job_key(a, id)
  local j = fields(redis.call('HGETALL', key))
  local rate, free = tonumber(j.rate), math.min(PUMP_MAX, tonumber(j.concurrency) - redis.call('SCARD', key .. ':out'))
  local tokens = math.min(tonumber(j.burst), tonumber(j.tokens) + math.max(0, now - tonumber(j.tokens_at)) * rate / 1000)
  if rate > 0 then free = math.min(free, math.floor(tokens)) end
  if free > 0 then
    job_refill(a, sub, id, j, free)
    tokens = tokens - job_offer(a, sub, id, redis.call('LPOP', key .. ':ready', free) or {})
  end
  redis.call('HSET', key, 'tokens', string.format('%.3f', tokens), 'tokens_at', num(now))
  job_finish(a, id)
end

pump = function(a, sub, now)
  for _, id in ipairs(redis.call('SMEMBERS', a .. ':jobsr:' .. sub)) do job_move(a, sub, id, now) end
end

-- ---- operators ---------------------------------------------------------------------------------------------------------------

local function job_row(a, id)
  local key = job_key(a, id)
  local list = redis.call('HGETALL', key)
  if #list == 0 then return nil end
  for _, word in ipairs({ 'id', id, 'out', num(redis.call('SCARD', key .. ':out')), 'ready', num(redis.call('LLEN', key .. ':ready')) }) do
    list[#list + 1] = word
  end
  return list
end

-- The oldest that ended go, until there is room for one more. Those that run or are paused stay. False: all that are kept are such.
local function job_forget(a, sub)
  local jobs = a .. ':jobs:' .. sub
  local over = redis.call('ZCARD', jobs) + 1 - JOBS_KEEP
  for _, id in ipairs(over > 0 and redis.call('ZRANGE', jobs, 0, -1) or {}) do
    if over <= 0 then return true end
    if not job_active(a, id) then
      over = over - 1
      local idempotency = redis.call('HGET', job_key(a, id), 'idempotency')
      redis.call('DEL', job_key(a, id), job_key(a, id) .. ':out')
      redis.call('ZREM', jobs, id)
      if idempotency and idempotency ~= '' then redis.call('HDEL', a .. ':jobk:' .. sub, idempotency) end
    end
  end
  return over <= 0
end

-- sub, who, why, idempotency key, dry, filter (6), rate, burst, concurrency, stop percent, named, id, … -> {count} of a dry run, the job's
-- row, or {} when the key was used for another order. Letters that come later are not the job's: it ends.
register('job_create', function(keys, argv)
  local a, sub, now = keys[1], argv[1], now_ms()
  local f, named = filter_of(argv, 6), argv[16] == '1'
  local order = sha256(table.concat(argv, '\0', 6))
  local used = argv[4] ~= '' and argv[5] ~= '1' and redis.call('HGET', a .. ':jobk:' .. sub, argv[4])
  if used then
    local id, old = string.match(used, '^(%S+) (%S+)$')
    return old == order and job_row(a, id) or {}
  end
  local newest = redis.call('XREVRANGE', a .. ':dlq:' .. sub, '+', '-', 'COUNT', 1)[1]
  local until_ms = math.max(now, newest and split(newest[1]) or 0) -- the clock may have been set back since it was parked
  if f.to == '' or tonumber(f.to) > until_ms then f.to = num(until_ms) end
  local total, names = 0, {}
  for i = 17, #argv do
    if redis.call('HEXISTS', a .. ':dlqf:' .. sub, argv[i]) == 1 then names[#names + 1] = padded(argv[i]) end
  end
  total = named and #names or count_matching(a, sub, f)
  if argv[5] == '1' then return { num(total) } end
  if not job_forget(a, sub) then
    return redis.error_reply('FULL subscription ' .. sub .. ' has ' .. num(JOBS_KEEP) .. ' replay jobs that run or are paused: resume or cancel some')
  end
  local id = now_us()
  while redis.call('EXISTS', job_key(a, num(id))) == 1 do id = id + 1 end
  id = num(id)
  redis.call('HSET', job_key(a, id), 'sub', sub, 'who', argv[2], 'why', argv[3], 'idempotency', argv[4], 'type', f.type, 'reason', f.reason,
    'key', f.key, 'kind', f.kind, 'from', f.from, 'to', f.to, 'rate', argv[12], 'burst', argv[13], 'concurrency', argv[14], 'stop', argv[15],
    'named', argv[16], 'total', num(total), 'state', 'running', 'created', num(now), 'finished', '0', 'cursor', '', 'exhausted', '0',
    'ok', '0', 'failed', '0', 'gone', '0', 'base_ok', '0', 'base_failed', '0', 'note', '', 'tokens', argv[13], 'tokens_at', num(now))
  for _, p in ipairs(names) do redis.call('ZADD', job_key(a, id) .. ':ids', 0, p) end
  redis.call('SADD', a .. ':jobsr:' .. sub, id)
  redis.call('ZADD', a .. ':jobs:' .. sub, num(now), id)
  if argv[4] ~= '' then redis.call('HSET', a .. ':jobk:' .. sub, argv[4], id .. ' ' .. order) end
  audit(a, 'action', 'replay job', 'who', argv[2], 'why', argv[3], 'subscription', sub, 'job', id, 'count', num(total), 'order', order)
  job_finish(a, id)
  return job_row(a, id)
end)

register('job_show', function(keys, argv) return job_row(keys[1], argv[1]) or {} end) -- id

register('job_list', function(keys, argv) -- sub, n: newest first
  local out = {}
  for _, id in ipairs(redis.call('ZREVRANGE', keys[1] .. ':jobs:' .. argv[1], 0, tonumber(argv[2]) - 1)) do out[#out + 1] = job_row(keys[1], id) end
  return out
end)

-- id, pause|resume|cancel, who, why -> its row, or {}. What is in a handler's hands ends as it ends; everything else stays a dead letter.
register('job_control', function(keys, argv)
  local a, id = keys[1], argv[1]
  local key = job_key(a, id)
  local j = redis.call('HMGET', key, 'state', 'sub', 'ok', 'failed')
  if not j[1] then return {} end
  if argv[2] == 'pause' and j[1] == 'running' then
    job_pause(a, id, argv[3], argv[4])
  elseif argv[2] == 'resume' and j[1] == 'paused' then
    redis.call('HSET', key, 'state', 'running', 'note', '', 'base_ok', j[3], 'base_failed', j[4], 'tokens_at', num(now_ms()))
    redis.call('SADD', a .. ':jobsr:' .. j[2], id)
    audit(a, 'action', 'replay job resumed', 'who', argv[3], 'why', argv[4], 'subscription', j[2], 'job', id)
    job_finish(a, id)
  elseif argv[2] == 'cancel' and (j[1] == 'running' or j[1] == 'paused') then
    job_withdraw(a, j[2], id)
    job_end(a, id, 'canceled', argv[3], argv[4])
  end
  return job_row(a, id)
end)
