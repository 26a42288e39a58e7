#!lua name=weir
-- The bus' transitions, each atomic. The loader (script.c) puts in the files that are included, and a library name that depends on all
-- text into the first line and into NAME, so that processes of different versions never replace each other's functions.
--
-- KEYS[1] is the anchor "weir:{chain}": every key of a chain has its hash tag, so all of them lie in one slot and are built from it
-- here. Ids are <generation>-<sequence>. Numbers stay below 2^53 and Lua would print large ones as floats: num() prints them.
--
-- Keys beside those in streams.h, per subscription: att (failures of pending messages), rpi (letters being replayed, by when they come
-- back), rpm (letters marked), rpk (parked keys being replayed), rsl (entries settled above the floor), pkl:<key> (a parked key's letters
-- in order). A parked key is <topic>/<key>: one subscription may read many. Those of dead letters, jobs and the audit stream are in the
-- files of these.

local CLASSES = { 'critical', 'high', 'normal', 'low' }
local RETURNED = 'returned' -- consumer that holds what was given back
local HISTORY_MAX = 65536   -- bytes of recorded failures per message

local function num(n) return string.format('%.0f', n) end
local function stream(a, topic, class) return a .. ':' .. topic .. ':' .. class end
local function meta(a, topic) return a .. ':' .. topic .. ':meta' end
local function lease(a, topic, sub) return a .. ':' .. topic .. ':own:' .. sub end
local function now_us() local t = redis.call('TIME') return tonumber(t[1]) * 1000000 + tonumber(t[2]) end
local function now_ms() local t = redis.call('TIME') return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) end
local function split(id) local g, s = string.match(id, '^(%d+)-(%d+)$') return tonumber(g), tonumber(s) end
local function less(a, b) local ag, as = split(a) local bg, bs = split(b) return ag < bg or (ag == bg and as < bs) end

local function fields(list)
  local f = {}
  for i = 1, #list, 2 do f[list[i]] = list[i + 1] end
  return f
end

local function stream_info(s) -- nil when there is no such stream
  local i = redis.pcall('XINFO', 'STREAM', s)
  if i.err then return nil end
  return fields(i)
end

local function groups_of(s)
  local list = redis.pcall('XINFO', 'GROUPS', s)
  if list.err then return {} end
  for i, g in ipairs(list) do list[i] = fields(g) end
  return list
end

local function group(a, topic, class, sub)
  redis.pcall('XGROUP', 'CREATE', stream(a, topic, class), sub, '0', 'MKSTREAM')
end

-- Only publishing is refused when Redis has no memory left: everything else ends in less of it being used.
local function register(name, f) redis.register_function({ function_name = NAME .. name, callback = f, flags = { 'allow-oom' } }) end

-- ---- appending ---------------------------------------------------------------------------------------------------------------

-- A server that is killed while it writes may leave the beginning of a transaction at the end of its file. Redis 7.0 ignores it when it
-- starts again, but leaves it there, and does it after the next start, together with the next transaction. So where each generation ended
-- is remembered, and what stands behind that end is taken out.
local ENDS_MAX = 32
local function end_generation(key, class, s, gen)
  local ends = {}
  for e in string.gmatch(redis.call('HGET', key, 'ends:' .. class) or '', '%S+') do ends[#ends + 1] = e end
  ends[#ends + 1] = gen .. '-' .. (redis.call('HGET', key, 'hw:' .. class) or '0')
  redis.call('HSET', key, 'ends:' .. class, table.concat(ends, ' ', math.max(1, #ends - ENDS_MAX + 1)))
  for _, e in ipairs(ends) do
    repeat
      local list = redis.call('XRANGE', s, '(' .. e, string.match(e, '^%d+') .. '-18446744073709551615', 'COUNT', 1000)
      for _, entry in ipairs(list) do redis.call('XDEL', s, entry[1]) end
    until #list < 1000
  end
end

-- A new generation is above everything that any consumer may remember from before a loss: by time when all is gone, by the last ids
-- when only the meta hash is.
local function new_generation(a, topic, run)
  local key = meta(a, topic)
  local old = redis.call('HGET', key, 'gen')
  local gen = math.max(tonumber(old or '0') + 1, now_us())
  for _, class in ipairs(CLASSES) do
    local info = stream_info(stream(a, topic, class))
    if info then
      if old then end_generation(key, class, stream(a, topic, class), old) end
      local g, s = split(info['last-generated-id'])
      if g >= gen then gen = g + 1 end
      if s > 0 then redis.call('HSETNX', key, 'hw:' .. class, num(s)) end
    end
  end
  redis.call('HSET', key, 'gen', num(gen), 'run', run)
  return num(gen)
end

-- A server that was started again, or another one, may have lost the end of the stream: then the numbers lost are given out anew,
-- and consumers that stand behind them must not take the new ones for old.
local function generation(a, topic, run)
  local h = redis.call('HMGET', meta(a, topic), 'gen', 'run')
  if h[1] and (run == '' or h[2] == run) then return h[1] end
  return new_generation(a, topic, run)
end

-- For readers: has the server been started again since somebody published? Then its streams are put right before they are read.
local function begun(a, topic, run)
  if redis.call('HEXISTS', meta(a, topic), 'gen') == 1 then generation(a, topic, run) end
end

local function split_producer(text) -- "<epoch>:<last number>"
  local e, last = string.match(text or '', '^(%d+):(%d+)$')
  return tonumber(e or '0'), tonumber(last or '0')
end

local function writer(a, run) return { a = a, run = run, topics = {} } end

-- list[from..to] under ids <gen>-<first>, …. Only the first is said: each further one is the next that Redis gives within the generation.
local function add_dense(s, gen, first, list, from, to)
  local call, id = redis.call, gen .. '-*'
  call('XADD', s, gen .. '-' .. num(first), 'd', list[from])
  for i = from + 1, to do call('XADD', s, id, 'd', list[i]) end
end

local function append(w, topic, class, list, from, to)
  local t = w.topics[topic]
  if not t then
    t = { gen = generation(w.a, topic, w.run), hw = {} }
    w.topics[topic] = t
  end
  local hw = t.hw[class] or tonumber(redis.call('HGET', meta(w.a, topic), 'hw:' .. class) or '0')
  add_dense(stream(w.a, topic, class), t.gen, hw + 1, list, from, to)
  t.hw[class] = hw + to - from + 1
end

local function flush(w)
  for topic, t in pairs(w.topics) do
    for class, hw in pairs(t.hw) do redis.call('HSET', meta(w.a, topic), 'hw:' .. class, num(hw)) end
  end
end

-- The most messages that an entry of the stream has.
local function packed(a, topic, class) return tonumber(redis.call('HGET', meta(a, topic), 'pack:' .. class) or '1') end

-- How much of the class the slowest group has yet to read. What is read and not yet trimmed does not count.
local function unread(a, topic, class, length, without_groups)
  local hw, waiting, list = tonumber(redis.call('HGET', meta(a, topic), 'hw:' .. class) or '0'), 0, groups_of(stream(a, topic, class))
  if #list == 0 then return without_groups end
  for _, g in ipairs(list) do
    local _, seq = split(g['last-delivered-id'])
    waiting = math.max(waiting, (hw >= seq and hw - seq or length) + g['pending'])
  end
  return math.min(waiting, length)
end

-- Admission: has somebody yet to read so much of the class and of those more important? The less important a class is, the more counts against
-- it, and what is low may have half of the backlog only: it waits first.
local function crowded(a, topic, class, backlog)
  local limit, lengths, all, waiting = class == 'low' and math.ceil(backlog / 2) or backlog, {}, 0, 0
  for i, c in ipairs(CLASSES) do
    lengths[i] = redis.call('XLEN', stream(a, topic, c)) * packed(a, topic, c)
    all = all + lengths[i]
    if c == class then break end
  end
  if all < limit then return false end
  for i, length in ipairs(lengths) do
    if length > 0 then waiting = waiting + unread(a, topic, CLASSES[i], length, i == #lengths and length or 0) end
  end
  return waiting >= limit
end

-- topic, producer, the epoch that the caller had ('' for none) and its last acknowledged number -> epoch. A later epoch than the caller's may
-- be its own, of an answer that was lost.
local function producer_open(keys, argv)
  local f, key = 'p:' .. argv[2], meta(keys[1], argv[1])
  local old, epoch = redis.call('HGET', key, f), now_us()
  local e, last = split_producer(old)
  if argv[3] ~= '' and (e < tonumber(argv[3]) or (e == tonumber(argv[3]) and last < tonumber(argv[4]))) then
    return redis.error_reply('GAP Redis has lost what it knew of the producer')
  end
  if e >= epoch then epoch = e + 1 end
  redis.call('HSET', key, f, num(epoch) .. ':0')
  return num(epoch)
end

-- run, topic, producer, epoch, first, backlog, then runs of one class: class, n, frame x n -> how many were new
local function publish(keys, argv)
  local a, topic = keys[1], argv[2]
  local f, key = 'p:' .. argv[3], meta(a, topic)
  local old = redis.call('HGET', key, f)
  if not old then return redis.error_reply('GAP Redis does not know the producer any more') end
  local epoch, last = split_producer(old)
  --[[fence]] if tonumber(argv[4]) < epoch then return redis.error_reply('FENCED a newer producer took over') end
  if tonumber(argv[4]) > epoch then return redis.error_reply('GAP Redis has lost the producer\'s newest epoch') end
  local first = tonumber(argv[5])
  --[[sequence]] if first > last + 1 then return redis.error_reply('GAP the last message known is ' .. num(last)) end
  local known, at, looked, runs = 0, 7, {}, {} -- known: so many of these stand already
  --[[sequence]] known = last + 1 - first
  local total = 0
  while at <= #argv do
    local class, n = argv[at], tonumber(argv[at + 1])
    local from = at + 2 + math.max(0, math.min(n, known - total))
    at, total = at + 2 + n, total + n
    if from < at then
      if not looked[class] and crowded(a, topic, class, tonumber(argv[6])) then
        return redis.error_reply('FULL class ' .. class .. ' of topic ' .. topic)
      end
      looked[class] = true
      runs[#runs + 1] = { class, from, at - 1 }
    end
  end
  local w, added = writer(a, argv[1]), 0
  for _, r in ipairs(runs) do
    append(w, topic, r[1], argv, r[2], r[3])
    added = added + r[3] - r[2] + 1
  end
  flush(w)
  if first + total - 1 > last then redis.call('HSET', key, f, num(epoch) .. ':' .. num(first + total - 1)) end
  return added
end

-- run, topic, class -> generation, last sequence: for publishers that add entries by transactions of their own
local function publish_look(keys, argv)
  local gen = generation(keys[1], argv[2], argv[1])
  return { gen, redis.call('HGET', meta(keys[1], argv[2]), 'hw:' .. argv[3]) or '0' }
end

-- run, topic, producer, epoch, first, backlog, class, generation, sequence -> 1 when the next number, generation and sequence are these and
-- there is room. Whoever asks watches the meta hash, so that it stays true until his transaction.
local function publish_check(keys, argv)
  local a, topic, class = keys[1], argv[2], argv[7]
  local h = redis.call('HMGET', meta(a, topic), 'p:' .. argv[3], 'run', 'gen', 'hw:' .. class)
  if h[1] ~= argv[4] .. ':' .. num(tonumber(argv[5]) - 1) then return 0 end
  if (argv[1] ~= '' and h[2] ~= argv[1]) or h[3] ~= argv[8] or (h[4] or '0') ~= argv[9] then return 0 end
  local info = stream_info(stream(a, topic, class))
  if info and not less(info['last-generated-id'], argv[8] .. '-' .. num(tonumber(argv[9]) + 1)) then return 0 end
  if crowded(a, topic, class, tonumber(argv[6])) then return 0 end
  return 1
end

-- run, topic, class, first, restart, frame, … -> {1, tail, new ones} or {0, tail} when a gap lies before first. restart: its name, or ''. A
-- repetition of it, after an answer was lost, must not begin a second time: consumers would get under new ids what they have done.
local function publish_sequence(keys, argv)
  local a, topic, class, first, added = keys[1], argv[2], argv[3], tonumber(argv[4]), 0
  local key = meta(a, topic)
  local gen = generation(a, topic, argv[1])
  local hw = tonumber(redis.call('HGET', key, 'hw:' .. class) or '0')
  if argv[5] ~= '' and redis.call('HGET', key, 'restart:' .. class) ~= argv[5] then
    if first ~= hw + 1 then
      gen = new_generation(a, topic, argv[1])
      hw = first - 1
    end
    redis.call('HSET', key, 'hw:' .. class, num(hw), 'restart:' .. class, argv[5])
  end
  --[[sequence]] if first > hw + 1 then return { 0, num(hw) } end
  local from = 6
  --[[sequence]] from = 6 + hw + 1 - first
  if from <= #argv then
    added = #argv - from + 1
    add_dense(stream(a, topic, class), gen, first + from - 6, argv, from, #argv)
    hw = first + #argv - 6
    redis.call('HSET', key, 'hw:' .. class, num(hw))
  end
  return { 1, num(hw), added }
end

--[[include audit]]
--[[include dead_letter]]
--[[include replay_job]]
--[[include rate]]

-- ---- shared lane -------------------------------------------------------------------------------------------------------------

local function groups(keys, argv) -- topic, sub
  for _, class in ipairs(CLASSES) do group(keys[1], argv[1], class, argv[2]) end
  return 1
end

local function pending_of(s, sub, id, consumer)
  local p = redis.pcall('XPENDING', s, sub, id, id, 1, consumer)
  return not p.err and #p == 1
end

-- Records failure `number` of a pending message, once.
local function remember_failure(a, sub, index, number, fragment)
  local key = a .. ':att:' .. sub
  if number <= tonumber(redis.call('HGET', key, index) or '0') then return end
  local old = redis.call('HGET', key, index .. '/e') or ''
  if #old + #fragment < HISTORY_MAX then old = old .. fragment end
  redis.call('HSET', key, index, num(number), index .. '/e', old)
end

-- 1 when the message was still pending. A topic that only this group reads forgets the entry at once.
local function acknowledge(a, sub, topic, class, id, alone)
  local s = stream(a, topic, class)
  local got = redis.pcall('XACK', s, sub, id)
  if type(got) ~= 'number' then return 0 end
  if got == 1 then
    if alone[s] == nil then alone[s] = #groups_of(s) == 1 end
    if alone[s] then redis.call('XDEL', s, id) end
  end
  return got
end

-- One message of a step. Returns whether it was still ours to settle.
local function settle(a, sub, consumer, hold, alone, letters, m)
  local index = m.topic .. '/' .. m.class .. '/' .. m.id
  if m.letter ~= '' then
    if m.outcome == 'done' then return settle_letter(a, sub, letters, m.letter) end
    if not redis.call('ZSCORE', a .. ':rpi:' .. sub, m.letter) then return 0 end
    if m.outcome == 'retry' then redis.call('ZADD', a .. ':rpi:' .. sub, num(now_ms() + hold), m.letter)
    else letter_failed(a, sub, m.letter, m.fragment, m.code) end
    return 1
  end
  if m.outcome == 'retry' then
    if not pending_of(stream(a, m.topic, m.class), sub, m.id, consumer) then return 0 end
    remember_failure(a, sub, index, m.attempt, m.fragment)
    return 1
  end
  local counts = acknowledge(a, sub, m.topic, m.class, m.id, alone)
  if counts == 1 then
    local key = a .. ':att:' .. sub
    if m.outcome == 'reject' then
      local history = redis.call('HGET', key, index .. '/e') or ''
      park(a, sub, 'shared', m.topic, m.class, m.id, m.key, m.type, m.code, 'head', m.body .. history .. m.fragment)
    end
    redis.call('HDEL', key, index, index .. '/e', index .. '/c')
  end
  return counts
end

-- run, sub, backlog, consumer, hold, then per message: topic, class, id, letter, outcome, key, type, code, attempt, body, fragment, n,
-- n x (topic, class, frame) -> per message: was it ours?
local HEAD = 12
local function step(keys, argv)
  local a, sub, at, out, looked = keys[1], argv[2], 6, {}, {}
  while at <= #argv do -- admission first: all or nothing
    local n = tonumber(argv[at + 11])
    for e = at + HEAD, at + HEAD + 3 * (n - 1), 3 do
      local s = stream(a, argv[e], argv[e + 1])
      if not looked[s] and crowded(a, argv[e], argv[e + 1], tonumber(argv[3])) then
        return redis.error_reply('FULL class ' .. argv[e + 1] .. ' of topic ' .. argv[e])
      end
      looked[s] = true
    end
    at = at + HEAD + 3 * n
  end
  local replayed = {}
  at = 6
  while at <= #argv do
    if argv[at + 3] ~= '' and argv[at + 4] == 'done' then replayed[#replayed + 1] = argv[at + 3] end
    at = at + HEAD + 3 * tonumber(argv[at + 11])
  end
  at = 6
  local w, alone, letters = writer(a, argv[1]), {}, settling(letters_beside(a, sub, replayed))
  while at <= #argv do
    local m = { topic = argv[at], class = argv[at + 1], id = argv[at + 2], letter = argv[at + 3], outcome = argv[at + 4], key = argv[at + 5],
      type = argv[at + 6], code = argv[at + 7], attempt = tonumber(argv[at + 8]), body = argv[at + 9], fragment = argv[at + 10] }
    local n, counts = tonumber(argv[at + 11]), settle(a, sub, argv[4], tonumber(argv[5]), alone, letters, m)
    --[[dedup]] if counts == 0 then m.outcome = 'not ours' end
    --[[ack]] if m.outcome == 'done' then
      for e = at + HEAD, at + HEAD + 3 * (n - 1), 3 do append(w, argv[e], argv[e + 1], argv, e + 2, e + 2) end
    --[[ack]] end
    out[#out + 1] = counts
    at = at + HEAD + 3 * n
  end
  flush(w)
  settle_letters(a, sub, letters, 'ok')
  return out
end

-- All that was read is settled, and cutting is much cheaper than deleting.
local function trim_read(s, reader)
  local gen, seq = split(reader['last-delivered-id'])
  redis.call('XTRIM', s, 'MINID', num(gen) .. '-' .. num(seq + 1))
end

-- topic, sub, class, id …: messages of which nothing came but that they are done, the most of all. -> how many were still pending,
-- and whether their ids will be needed the next time, too
local function done(keys, argv)
  local a, topic, sub, class = keys[1], argv[1], argv[2], argv[3]
  local s, failures = stream(a, topic, class), a .. ':att:' .. sub
  local got, more = redis.pcall('XACK', s, sub, unpack(argv, 4)), 0
  if type(got) ~= 'number' then return { 0, 1 } end
  local readers = groups_of(s)
  if #readers == 1 and readers[1]['pending'] > 0 then
    redis.call('XDEL', s, unpack(argv, 4))
    more = 1
  elseif #readers == 1 then
    trim_read(s, readers[1])
  end
  if redis.call('EXISTS', failures) == 1 then
    for i = 4, #argv do
      local index = topic .. '/' .. class .. '/' .. argv[i]
      redis.call('HDEL', failures, index, index .. '/e', index .. '/c')
    end
    more = redis.call('EXISTS', failures) == 1 and 1 or more
  end
  return { got, more }
end

-- topic, sub, class: messages were acknowledged without a script, which costs Redis less. What is left to do; 1 when there is more than can
-- be done without their ids: then done must follow.
local function acknowledged(keys, argv)
  local a, topic, sub, class = keys[1], argv[1], argv[2], argv[3]
  local s = stream(a, topic, class)
  local readers = groups_of(s)
  if #readers == 1 and readers[1]['pending'] == 0 then trim_read(s, readers[1]) end
  if #readers == 1 and readers[1]['pending'] > 0 then return 1 end
  return redis.call('EXISTS', a .. ':att:' .. sub)
end

-- Takes one pending entry. Crash evidence ('/c') counts each take-over from a consumer that did not give back; from the third delivery
-- on it is counted when the message is handed out, alone (suspect): its neighbours must not pay for it.
local function take_pending(a, topic, sub, class, id, consumer, evidence, out)
  local s = stream(a, topic, class)
  local e = redis.call('XCLAIM', s, sub, consumer, 0, id)
  if #e == 0 or not e[1] then return end -- the entry itself is gone
  local key, index = a .. ':att:' .. sub, topic .. '/' .. class .. '/' .. id
  local claims = tonumber(redis.call('HGET', key, index .. '/c') or '0')
  if evidence and claims < 2 then claims = redis.call('HINCRBY', key, index .. '/c', 1) end
  out[#out + 1] = { class, e[1], claims, tonumber(redis.call('HGET', key, index) or '0') }
end

-- Redis counts by its clock for how long an entry lies untouched. Where the clock was set back, or is another server's, it says 0 until it has
-- caught up, and nobody would take over what a dead reader left. Touched once, it counts from now on.
local function touch_untouched(s, sub, consumer, n)
  for _, p in ipairs(redis.call('XPENDING', s, sub, '-', '+', n, consumer)) do
    if p[3] == 0 then redis.call('XCLAIM', s, sub, consumer, 0, p[1], 'JUSTID') end
  end
end

-- Failures and crash evidence of messages that are settled: a reader that ends between the acknowledgement and what belongs to it leaves them.
-- idle: classes of which nothing is pending.
local function forget_settled(a, topic, sub, idle)
  local key, stale = a .. ':att:' .. sub, {}
  if redis.call('EXISTS', key) == 0 then return end
  for _, f in ipairs(redis.call('HKEYS', key)) do
    local t, class = string.match(f, '^(.-)/(.-)/')
    if t == topic and idle[class] then stale[#stale + 1] = f end
  end
  call_many(stale, 'HDEL', key)
end

-- topic, sub, consumer, idle ms, dead idle ms, n, knows who lives, prefixes of live consumers …: takes over what nobody works on:
-- entries idle for long, at once those of consumers that are not connected and those given back. -> {class, entry, claims, failures} …
local function sweep(keys, argv)
  local a, topic, sub, me, out, limit, alive, settled = keys[1], argv[1], argv[2], argv[3], {}, tonumber(argv[6]), {}, {}
  for i = 8, #argv do alive[argv[i]] = true end
  for _, class in ipairs(CLASSES) do
    local s = stream(a, topic, class)
    local consumers = redis.pcall('XINFO', 'CONSUMERS', s, sub)
    if consumers.err then return consumers end
    settled[class] = true
    for _, c in ipairs(consumers) do
      c = fields(c)
      settled[class] = settled[class] and c['pending'] == 0
      local dead = argv[7] == '1' and not alive[string.match(c['name'], '^(.*)/') or c['name']] and c['name'] ~= me
      local idle = c['name'] == RETURNED and '0' or dead and argv[5] or argv[4]
      if c['pending'] == 0 then
        if dead and c['idle'] > 600000 then redis.call('XGROUP', 'DELCONSUMER', s, sub, c['name']) end
      elseif #out < limit then
        if dead or argv[7] ~= '1' then touch_untouched(s, sub, c['name'], limit - #out) end
        for _, p in ipairs(redis.call('XPENDING', s, sub, 'IDLE', idle, '-', '+', limit - #out, c['name'])) do
          take_pending(a, topic, sub, class, p[1], me, c['name'] ~= RETURNED and c['name'] ~= me and (dead or argv[7] ~= '1'), out)
        end
      end
    end
  end
  forget_settled(a, topic, sub, settled)
  return out
end

-- topic, sub, consumer, class, after id, n, evidence, run: what this consumer's name has pending, from a life before or a reply that was lost
local function recover(keys, argv)
  begun(keys[1], argv[1], argv[8])
  local out, s, after, pages = {}, stream(keys[1], argv[1], argv[4]), argv[5], 0
  repeat -- a page of entries that are gone is not the end; what lies behind very many of them the sweep finds
    pages = pages + 1
    local list = redis.pcall('XPENDING', s, argv[2], after, '+', argv[6], argv[3])
    if list.err then return list end
    for _, p in ipairs(list) do
      take_pending(keys[1], argv[1], argv[2], argv[4], p[1], argv[3], argv[7] == '1', out)
      after = '(' .. p[1]
    end
  until #out > 0 or #list == 0 or pages == 64
  return out
end

-- sub, letter, …: replays that succeeded, and nothing else came of them -> for each: was there such a letter?
local function letters_done(keys, argv)
  local a, sub, out = keys[1], argv[1], {}
  local batch = settling(letters_beside(a, sub, { unpack(argv, 2) }))
  for i = 2, #argv do out[i - 1] = settle_letter(a, sub, batch, argv[i]) end
  settle_letters(a, sub, batch, 'ok')
  return out
end

local function suspect(keys, argv) -- sub, index: is handed out now
  return redis.call('HINCRBY', keys[1] .. ':att:' .. argv[1], argv[2] .. '/c', 1)
end

-- topic, sub, consumer, hold ms, then class, id, letter …: they are still being worked on
local function keep(keys, argv)
  local a, n = keys[1], 0
  for i = 5, #argv, 3 do
    local s = stream(a, argv[1], argv[i])
    if argv[i + 2] ~= '' then
      n = n + redis.call('ZADD', a .. ':rpi:' .. argv[2], 'XX', 'CH', num(now_ms() + tonumber(argv[4])), argv[i + 2])
    elseif pending_of(s, argv[2], argv[i + 1], argv[3]) then
      redis.call('XCLAIM', s, argv[2], argv[3], 0, argv[i + 1], 'JUSTID')
      n = n + 1
    end
  end
  return n
end

-- topic, sub, consumer, letter …: whoever comes next may take it at once
local function give_back(keys, argv)
  local a, sub, n = keys[1], argv[2], 0
  for _, class in ipairs(CLASSES) do
    local s = stream(a, argv[1], class)
    repeat
      local list = redis.pcall('XPENDING', s, sub, '-', '+', 500, argv[3])
      if list.err then list = {} end
      for _, p in ipairs(list) do
        redis.call('XCLAIM', s, sub, RETURNED, 0, p[1], 'JUSTID')
        local key, field = a .. ':att:' .. sub, argv[1] .. '/' .. class .. '/' .. p[1] .. '/c'
        if tonumber(redis.call('HGET', key, field) or '0') > 2 then redis.call('HSET', key, field, '2') end
        n = n + 1
      end
    until #list < 500
    redis.pcall('XGROUP', 'DELCONSUMER', s, sub, argv[3])
  end
  for i = 4, #argv do
    if redis.call('ZREM', a .. ':rpi:' .. sub, argv[i]) == 1 then redis.call('ZADD', a .. ':rpl:' .. sub, num(split(argv[i])), argv[i]) end
  end
  return n
end

-- ---- ordered lane ------------------------------------------------------------------------------------------------------------

-- run: of the server that the caller speaks to. What an owner knows it has of the one where it took over: after a failover the same token may
-- stand on a server that lost what came last, dead letters as well as entries, and a command that is repeated there must not settle what
-- lies behind them. nil: it makes no difference.
local function fenced(key, token, run)
  local h = redis.call('HMGET', key, 'token', 'run')
  --[[lease]] if h[1] ~= token then return redis.error_reply('FENCED the lease has another holder') end
  --[[run]] if run and h[2] and h[2] ~= run then return redis.error_reply('FENCED the lease was taken on another run of the server') end
  return nil
end

-- Who has the lease, and for how many ms; nil: nobody. Where the clock was set back, or is another server's, it lasts no longer than it was
-- taken for: an owner that lives renews it long before.
local function leased(key, now)
  local h = redis.call('HMGET', key, 'owner', 'until', 'ttl')
  local left, most = tonumber(h[2] or '0') - now, tonumber(h[3] or '600000')
  if not h[1] or h[1] == '' or left <= 0 then return nil end
  if left > most then
    left = most
    redis.call('HSET', key, 'until', num(now + left))
  end
  return h[1], left
end

-- Floors and the last ids that the streams ever had, per class.
local function positions(a, topic, key, out)
  for _, class in ipairs(CLASSES) do
    local info = stream_info(stream(a, topic, class))
    out[#out + 1] = redis.call('HGET', key, 'floor:' .. class) or '0-0'
    out[#out + 1] = info and info['last-generated-id'] or '0-0'
  end
  return out
end

-- topic, sub, owner, ttl, nonce, run -> {1, token, floor, last id, …} or {0, owner, ms left}
local function acquire(keys, argv)
  local a, sub = keys[1], argv[2]
  local key, now = lease(a, argv[1], sub), now_ms()
  begun(a, argv[1], argv[6])
  local holder, left = leased(key, now)
  if holder and holder ~= argv[3] then return { 0, holder, num(left) } end
  local token = num(redis.call('HINCRBY', key, 'n', 1)) .. ':' .. argv[5]
  redis.call('HSET', key, 'token', token, 'owner', argv[3], 'until', num(now + tonumber(argv[4])), 'ttl', argv[4], 'run', argv[6])
  for _, class in ipairs(CLASSES) do group(a, argv[1], class, sub) end
  for _, id in ipairs(redis.call('ZRANGE', a .. ':rpi:' .. sub, 0, -1)) do -- the former owner's replays begin again
    local e = redis.call('XRANGE', a .. ':dlq:' .. sub, id, id)
    if #e == 1 and letter_of_entry(e[1]).topic == argv[1] then
      redis.call('ZREM', a .. ':rpi:' .. sub, id)
      redis.call('ZADD', a .. ':rpl:' .. sub, num(split(id)), id)
    end
  end
  return positions(a, argv[1], key, { 1, token })
end

local function look(keys, argv) -- topic, sub, token, run: positions again
  local key = lease(keys[1], argv[1], argv[2])
  begun(keys[1], argv[1], argv[4])
  local no = fenced(key, argv[3]) if no then return no end
  return positions(keys[1], argv[1], key, {})
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

local function commit(keys, argv) -- topic, sub, token, ttl, class, id, run
  local a, key, class, id = keys[1], lease(keys[1], argv[1], argv[2]), argv[5], argv[6]
  local no = fenced(key, argv[3], argv[7]) if no then return no end
  if less(redis.call('HGET', key, 'floor:' .. class) or '0-0', id) then
    local _, seq = split(id)
    group(a, argv[1], class, argv[2])
    redis.call('XGROUP', 'SETID', stream(a, argv[1], class), argv[2], id, 'ENTRIESREAD', num(seq))
    redis.call('HSET', key, 'floor:' .. class, id)
    local settled = a .. ':rsl:' .. argv[2]
    if redis.call('EXISTS', settled) == 1 then
      for _, f in ipairs(redis.call('HKEYS', settled)) do
        local t, c, entry = string.match(f, '^(.-)/(.-)/(.*)$')
        if t == argv[1] and c == class and not less(id, entry) then redis.call('HDEL', settled, f) end
      end
    end
  end
  redis.call('HSET', key, 'until', num(now_ms() + tonumber(argv[4])))
  return 1
end

-- topic, sub, token, class, entry, key, type, code, kind, letter, body, fragment, run -> letter id; empty for a follower whose key is free
-- again. A replay that failed stays where it is, and its key's other letters with it.
local function owner_park(keys, argv)
  local a, sub, key, letter = keys[1], argv[2], argv[6], argv[10]
  local no = fenced(lease(a, argv[1], sub), argv[3], argv[13]) if no then return no end
  if letter ~= '' then
    if #redis.call('XRANGE', a .. ':dlq:' .. sub, letter, letter) == 0 then return '' end
    letter_failed(a, sub, letter, argv[12], argv[8])
    return letter
  end
  if argv[9] == 'follower' and redis.call('HEXISTS', a .. ':park:' .. sub, argv[1] .. '/' .. key) == 0 then return '' end
  return park(a, sub, 'ordered', argv[1], argv[4], argv[5], key, argv[7], argv[8], argv[9], argv[11] .. argv[12])
end

-- topic, sub, token, run, n, n letters, their n keys -> for each how many letters its key has left; nil: none
local function resolve(keys, argv)
  local a, sub, n = keys[1], argv[2], tonumber(argv[5])
  local no = fenced(lease(a, argv[1], sub), argv[3], argv[4]) if no then return no end
  local batch = settling(letters_beside(a, sub, { unpack(argv, 6, 5 + n) }))
  for i = 6, 5 + n do settle_letter(a, sub, batch, argv[i]) end
  settle_letters(a, sub, batch, 'ok')
  local parked = {}
  for i = 1, n do parked[i] = argv[1] .. '/' .. argv[5 + n + i] end
  return redis.call('HMGET', a .. ':park:' .. sub, unpack(parked))
end

-- ---- housekeeping ------------------------------------------------------------------------------------------------------------

-- First id that some group still needs; nil without groups.
local function needed(s)
  local low = nil
  for _, g in ipairs(groups_of(s)) do
    local gen, seq = split(g['last-delivered-id'])
    local next = num(gen) .. '-' .. num(seq + 1)
    if g['pending'] > 0 then
      local p = redis.call('XPENDING', s, g['name'])
      if p[2] and less(p[2], next) then next = p[2] end
    end
    if not low or less(next, low) then low = next end
  end
  return low
end

-- topic, keep: cuts each stream behind the slowest group, keeping at least the newest `keep`
local function trim(keys, argv)
  local cut, spare = 0, tonumber(argv[2])
  for _, class in ipairs(CLASSES) do
    local s = stream(keys[1], argv[1], class)
    local length, low = redis.call('XLEN', s), needed(s)
    if low and spare == 0 and length > 0 then
      cut = cut + redis.call('XTRIM', s, 'MINID', low)
    elseif low and length > spare then -- only the approximate form takes a limit: a few entries more stay
      cut = cut + redis.call('XTRIM', s, 'MINID', '~', low, 'LIMIT', num(length - spare))
    elseif spare > 0 and length > spare then
      cut = cut + redis.call('XTRIM', s, 'MAXLEN', num(spare))
    end
  end
  return cut
end

-- topic -> per class {length, first sequence, last sequence, lag, pending, memory, header of the oldest unread frame}
local function info(keys, argv)
  local out = {}
  for _, class in ipairs(CLASSES) do
    local s = stream(keys[1], argv[1], class)
    local length = redis.call('XLEN', s)
    local row = { length, '0', redis.call('HGET', meta(keys[1], argv[1]), 'hw:' .. class) or '0', 0, 0, 0, '' }
    if length > 0 then
      row[6] = redis.call('MEMORY', 'USAGE', s)
      local e = redis.call('XRANGE', s, '-', '+', 'COUNT', 1)[1]
      local _, first = split(e[1])
      row[2] = num(first + 1 - tonumber(fields(e[2])['n'] or '1'))
    end
    local hw, most, low = tonumber(row[3]), length * packed(keys[1], argv[1], class), nil
    for _, g in ipairs(groups_of(s)) do
      local _, seq = split(g['last-delivered-id'])
      row[4] = math.max(row[4], math.min(hw >= seq and hw - seq or most, most))
      row[5] = row[5] + g['pending']
      if not low or less(g['last-delivered-id'], low) then low = g['last-delivered-id'] end
    end
    if length > 0 then
      local e = redis.call('XRANGE', s, low and '(' .. low or '-', '+', 'COUNT', 1)
      if #e == 1 and e[1][2][2] then row[7] = string.sub(e[1][2][2], 1, 64) end
    end
    out[#out + 1] = row
  end
  return out
end

redis.register_function(NAME .. 'publish', publish)
redis.register_function(NAME .. 'publish_sequence', publish_sequence)
redis.register_function(NAME .. 'publish_look', publish_look)
redis.register_function(NAME .. 'publish_check', publish_check)
register('producer_open', producer_open)
register('groups', groups)
register('step', step)
register('done', done)
register('letters_done', letters_done)
register('acknowledged', acknowledged)
register('sweep', sweep)
register('recover', recover)
register('suspect', suspect)
register('keep', keep)
register('give_back', give_back)
register('acquire', acquire)
register('look', look)
register('renew', renew)
register('release', release)
register('commit', commit)
register('owner_park', owner_park)
register('resolve', resolve)
register('trim', trim)
register('info', info)
--[[include subscription]]
