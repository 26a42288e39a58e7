-- dead_letter.lua - parking, finding, changing and settling dead letters.
--
-- A letter is an entry of the stream dlq (what never changes, without the frame: h what it is found by, d its piece) and, by its id, fields of
--   dlqf  the frame;
--   dlqr  what failed since it was parked, /n how often, /r the newest reason, /k its kind now; once edited /o the original frame, /e the
--         edits, /v their number.
-- Each is a piece of a packed weir.v1.DeadLetter. Protobuf messages may be concatenated: repeated fields append and the last scalar
-- counts. So a letter is simply all pieces one behind the other.
--
-- It is found by sorted sets in the order of bytes, so that no filter looks at letters that it does not want: dlqt with all letters and
-- dlqk:<key> with those of a key, both of <kind> 0 <type> 0 <reason> 0 <padded id>. dlqn counts each combination of kind, type and reason.
-- A filter is a few ranges of one set, merged by id.
--
-- What becomes of letters is told in the stream dlqe, one for all subscriptions of a chain (letter_tail.h): a letter that came and went between
-- two looks at dlq has left no trace there. An entry's first field is what happened and to whose letter, the second the letter's id -> what it
-- is found by, and its key.

local function varint(n)
  local s = ''
  while n >= 128 do
    s = s .. string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return s .. string.char(n)
end

local KIND_FRAGMENT = { head = '\16\1', follower = '\16\2', skipped = '\16\3' } -- field 2

-- ---- pieces ------------------------------------------------------------------------------------------------------------------

-- Takes the frame (field 10) out of a packed letter -> the rest, the frame's piece.
local function cut_frame(body)
  local at = 1
  while at <= #body do
    local tag, start, length, shift, byte = string.byte(body, at), at, 0, 1, nil
    at = at + 1
    repeat
      byte = string.byte(body, at) or 0
      length = length + (byte % 128) * shift
      shift = shift * 128
      at = at + 1
    until byte < 128
    if tag % 8 == 2 then at = at + length end
    if tag == 82 then return string.sub(body, 1, start - 1) .. string.sub(body, at), string.sub(body, start, at - 1) end
  end
  return body, ''
end

local function combination(f) return f.kind .. '\0' .. f.type .. '\0' .. f.reason end

-- What happened to it since it was parked.
local function letter_since(f, reason, kind, failures, original, edits)
  f.failures, f.original, f.edits = failures or '', original or '', edits or ''
  f.changed = kind or failures or original
  if kind or reason then
    f.kind, f.type, f.reason = kind or f.kind, f.type, reason or f.reason
    f.found = combination(f)
  end
  return f
end

-- What never changes, as an entry has it: one field, because Redis and Lua exchange few words much faster than many, and in the order in which
-- its parts are needed together. The key is the last, it may be any bytes.
local function letter_words(f)
  return f.topic .. '/' .. f.class .. '/' .. f.entry .. '\1' .. combination(f) .. '\1' .. f.lane .. '\1' .. f.key
end
-- What stands between two marks; plain searches, because patterns cost several times as much, and this is done for each letter.
local function part(text, from, mark)
  local at = string.find(text, mark, from, true)
  return string.sub(text, from, at - 1), at + 1
end
-- Taken apart further only when somebody asks.
local LETTER = { __index = function(f, name)
  local text, at
  if name == 'topic' or name == 'class' or name == 'entry' then
    text = rawget(f, 'place')
    f.topic, at = part(text, 1, '/')
    f.class, at = part(text, at, '/')
    f.entry = string.sub(text, at)
  elseif name == 'kind' or name == 'type' or name == 'reason' then
    text = rawget(f, 'found')
    f.kind, at = part(text, 1, '\0')
    f.type, at = part(text, at, '\0')
    f.reason = string.sub(text, at)
  end
  return rawget(f, name)
end }
local function letter_of_entry(entry)
  local f, text, at = { d = entry[2][4] }, entry[2][2], nil
  f.place, at = part(text, 1, '\1')
  f.found, at = part(text, at, '\1')
  f.lane, at = part(text, at, '\1')
  f.key = string.sub(text, at)
  return setmetatable(f, LETTER)
end

local function letter_fields(a, sub, id) -- nil: there is none
  local e = redis.call('XRANGE', a .. ':dlq:' .. sub, id, id)
  if #e == 0 then return nil end
  return letter_since(letter_of_entry(e[1]), unpack(redis.call('HMGET', a .. ':dlqr:' .. sub, id .. '/r', id .. '/k', id, id .. '/o',
    id .. '/e'), 1, 5))
end

-- Many at once, id -> fields: most often they lie beside each other, and nothing has happened to them. Those that are not in it may be there
-- all the same.
local BESIDE = 1000
local function letters_beside(a, sub, ids)
  local out, found, low, high, wanted = {}, {}, ids[1], ids[1], {}
  if #ids < 4 then return out end
  local low_ms, low_n = split(low)
  local high_ms, high_n = low_ms, low_n
  for _, id in ipairs(ids) do
    local ms, n = split(id)
    wanted[id] = true
    if ms < low_ms or (ms == low_ms and n < low_n) then low, low_ms, low_n = id, ms, n end
    if ms > high_ms or (ms == high_ms and n > high_n) then high, high_ms, high_n = id, ms, n end
  end
  for _, e in ipairs(redis.call('XRANGE', a .. ':dlq:' .. sub, low, high, 'COUNT', math.min(2 * #ids, BESIDE))) do
    if wanted[e[1]] then
      out[e[1]] = letter_since(letter_of_entry(e))
      found[#found + 1] = e[1]
    end
  end
  if redis.call('EXISTS', a .. ':dlqr:' .. sub) == 0 then return out end
  for from = 1, #found, 200 do
    local words = {}
    for i = from, math.min(from + 199, #found) do
      for _, part in ipairs({ '/r', '/k', '', '/o', '/e' }) do words[#words + 1] = found[i] .. part end
    end
    local since = redis.call('HMGET', a .. ':dlqr:' .. sub, unpack(words))
    for i = from, math.min(from + 199, #found) do
      local at = 5 * (i - from)
      letter_since(out[found[i]], unpack(since, at + 1, at + 5))
    end
  end
  return out
end

local function letter_whole(a, sub, id, f)
  return f.d .. (redis.call('HGET', a .. ':dlqf:' .. sub, id) or '') .. f.original .. f.edits .. f.failures .. KIND_FRAGMENT[f.kind]
end

-- Without the frame, which may be large: field 13 says how large.
local function letter_summary(a, sub, id, f)
  local size = redis.call('HSTRLEN', a .. ':dlqf:' .. sub, id)
  for prefix = 2, 6 do
    if size >= prefix and #varint(size - prefix) == prefix - 1 then
      size = size - prefix
      break
    end
  end
  return f.d .. f.edits .. f.failures .. KIND_FRAGMENT[f.kind] .. '\104' .. varint(size)
end

local NEWS_KEEP = '50000'
-- what: parked, failed (a replay did), ok (it succeeded), gone (dropped). f: with its id, and found as it is now.
local function tell(a, sub, what, f)
  redis.call('XADD', a .. ':dlqe', 'MAXLEN', '~', NEWS_KEEP, '*', what, sub, f.id, f.found .. '\1' .. f.key)
end

-- One command for a whole list of words: after the command's own, as many at a time as may be said at once.
local function call_many(words, ...)
  for from = 1, #words, 1000 do
    local command = { ... }
    for i = from, math.min(from + 999, #words) do command[#command + 1] = words[i] end
    redis.call(unpack(command))
  end
end

-- ---- finding -----------------------------------------------------------------------------------------------------------------

local PADDED = 21
local PER_MS = 1000000 -- letters of a millisecond that its digits tell apart
local function padded(id)
  local ms, n = string.match(id, '^(%d+)-(%d+)$')
  return string.sub('00000000000000' .. ms, -14) .. '-' .. string.sub('000000' .. n, -6)
end
local function unpadded(p) local ms, n = string.match(p, '^0*(%d+)-0*(%d+)$') return ms .. '-' .. n end
local function age(id) return string.match(id, '^%d+') end -- the score of letters that wait for a replay

local function index_add(a, sub, id, f)
  local c, p = combination(f), padded(id)
  redis.call('ZADD', a .. ':dlqt:' .. sub, 0, c .. '\0' .. p)
  redis.call('ZADD', a .. ':dlqk:' .. sub .. ':' .. f.key, 0, c .. '\0' .. p)
  redis.call('HINCRBY', a .. ':dlqn:' .. sub, c, 1)
end

local function index_remove(a, sub, id, f)
  local c, p = combination(f), padded(id)
  redis.call('ZREM', a .. ':dlqk:' .. sub .. ':' .. f.key, c .. '\0' .. p)
  if redis.call('ZREM', a .. ':dlqt:' .. sub, c .. '\0' .. p) == 1 and redis.call('HINCRBY', a .. ':dlqn:' .. sub, c, -1) <= 0 then
    redis.call('HDEL', a .. ':dlqn:' .. sub, c)
  end
end

-- Six arguments: type, reason, key, kind, from, to (milliseconds, inclusive); empty: any. reason may be an error class: \1<class>\1=\1, then
-- codes, each between blanks; or ! and the codes that are not of it, which are fewer.
local function filter_of(argv, at)
  return { type = argv[at], reason = argv[at + 1], key = argv[at + 2], kind = argv[at + 3], from = argv[at + 4], to = argv[at + 5] }
end

local function wants_reason(wanted, reason)
  if wanted == '' or wanted == reason then return true end
  local sign, codes = string.match(wanted, '^\1%a+\1([=!])\1(.*)$')
  return sign ~= nil and reason ~= '' and (string.find(codes, ' ' .. reason .. ' ', 1, true) ~= nil) == (sign == '=')
end

-- The ranges of one index that a filter wants, behind a letter's id.
local function ranges(a, sub, f, after)
  local out, low, bracket = {}, '', '['
  local set = f.key ~= '' and a .. ':dlqk:' .. sub .. ':' .. f.key or a .. ':dlqt:' .. sub
  if f.from ~= '' then low = padded(f.from .. '-0') end
  if after ~= '' and padded(after) >= low then low, bracket = padded(after), '(' end
  for _, c in ipairs(redis.call('HKEYS', a .. ':dlqn:' .. sub)) do
    local kind, type, reason = string.match(c, '^([^%z]*)%z([^%z]*)%z([^%z]*)$')
    if (f.kind == '' or f.kind == kind) and (f.type == '' or f.type == type) and wants_reason(f.reason, reason) then
      local high = f.to ~= '' and '(' .. c .. '\0' .. padded(num(tonumber(f.to) + 1) .. '-0') or '(' .. c .. '\1'
      out[#out + 1] = { set = set, low = bracket .. c .. '\0' .. low, high = high, prefix = c }
    end
  end
  return out
end

local function count_matching(a, sub, f)
  local n = 0
  for _, r in ipairs(ranges(a, sub, f, '')) do n = n + redis.call('ZLEXCOUNT', r.set, r.low, r.high) end
  return n
end

local function fill(r, n)
  r.ids = redis.call('ZRANGEBYLEX', r.set, r.low, r.high, 'LIMIT', 0, n)
  r.at = 1
  for i, member in ipairs(r.ids) do r.ids[i] = string.sub(member, -PADDED) end
  if #r.ids > 0 then r.low = '(' .. r.prefix .. '\0' .. r.ids[#r.ids] end
end

-- At most limit ids behind `after`, oldest first.
local function select_ids(a, sub, f, after, limit)
  local list, out = ranges(a, sub, f, after), {}
  local chunk = #list == 1 and limit or math.max(16, math.ceil(limit / math.max(1, 2 * #list)))
  for _, r in ipairs(list) do fill(r, chunk) end
  while #out < limit do
    local best = nil
    for _, r in ipairs(list) do
      if r.at > #r.ids and #r.ids == chunk then fill(r, chunk) end
      if r.at <= #r.ids and (not best or r.ids[r.at] < best.ids[best.at]) then best = r end
    end
    if not best then break end
    out[#out + 1] = unpadded(best.ids[best.at])
    best.at = best.at + 1
  end
  return out
end

-- sub, filter (6), after, limit -> {id, letter without its frame} …
register('list_letters', function(keys, argv)
  local a, sub, out = keys[1], argv[1], {}
  for _, id in ipairs(select_ids(a, sub, filter_of(argv, 2), argv[8], tonumber(argv[9]))) do
    local f = letter_fields(a, sub, id)
    if f then out[#out + 1] = { id, letter_summary(a, sub, id, f) } end
  end
  return out
end)

-- sub, filter (6), after, limit -> ids
register('select_letters', function(keys, argv) return select_ids(keys[1], argv[1], filter_of(argv, 2), argv[8], tonumber(argv[9])) end)

register('count_letters', function(keys, argv) -- sub, filter (6)
  return count_matching(keys[1], argv[1], filter_of(argv, 2))
end)

register('letter_counts', function(keys, argv) -- sub -> {kind, type, reason, count} …
  local out, list = {}, redis.call('HGETALL', keys[1] .. ':dlqn:' .. argv[1])
  for i = 1, #list, 2 do
    local kind, type, reason = string.match(list[i], '^([^%z]*)%z([^%z]*)%z([^%z]*)$')
    out[#out + 1] = { kind, type, reason, list[i + 1] }
  end
  return out
end)

-- sub, id -> {} or {topic, class, entry, lane, key, number of edits, whole letter}
register('show_letter', function(keys, argv)
  local a, sub, id = keys[1], argv[1], argv[2]
  local f = letter_fields(a, sub, id)
  if not f then return {} end
  return { f.topic, f.class, f.entry, f.lane, f.key, redis.call('HGET', a .. ':dlqr:' .. sub, id .. '/v') or '0', letter_whole(a, sub, id, f) }
end)

-- ---- order -------------------------------------------------------------------------------------------------------------------

local function letters_of(a, sub, key) return a .. ':pkl:' .. sub .. ':' .. key end
local function key_of(f) return f.topic .. '/' .. f.key end
-- Whether a letter waits in its key's order: those that were skipped do not any more.
local function in_order(f)
  if f.lane ~= 'ordered' or f.key == '' then return false end
  local kind = rawget(f, 'kind')
  if kind then return kind ~= 'skipped' end
  return string.sub(f.found, 1, 8) ~= 'skipped\0'
end

-- The first letter of a key is the only one that may be tried.
local function offer_first(a, sub, key)
  local first = redis.call('LINDEX', letters_of(a, sub, key), 0)
  if first and not redis.call('ZSCORE', a .. ':rpi:' .. sub, first) then
    redis.call('ZADD', a .. ':rpl:' .. sub, 'NX', age(first), first)
  end
end

local job_settled, jobs_next, pump -- replay_job.lua

-- Entries above the floors are remembered, else a new owner would handle them again.
local function remember_settled(a, sub, list)
  local floors, words = {}, {}
  for _, f in ipairs(list) do
    local of = f.topic .. '/' .. f.class
    floors[of] = floors[of] or { split(redis.call('HGET', lease(a, f.topic, sub), 'floor:' .. f.class) or '0-0') }
    local generation, sequence = split(f.entry)
    local floor = floors[of]
    if generation > floor[1] or (generation == floor[1] and sequence > floor[2]) then
      words[#words + 1], words[#words + 2] = of .. '/' .. f.entry, '1'
    end
  end
  call_many(words, 'HSET', a .. ':rsl:' .. sub)
end

-- Takes a letter out of its key's order -> the key's new first one; nil when there is none, false when another one is first still.
local function leave_key(a, sub, f)
  local key = key_of(f)
  local list = letters_of(a, sub, key)
  local front = redis.call('LRANGE', list, 0, 1)
  if front[1] == f.id then redis.call('LPOP', list) else redis.call('LREM', list, 1, f.id) end
  if redis.call('HINCRBY', a .. ':park:' .. sub, key, -1) > 0 then return front[1] == f.id and front[2] end
  redis.call('HDEL', a .. ':park:' .. sub, key)
  redis.call('HDEL', a .. ':pkh:' .. sub, key)
  redis.call('SREM', a .. ':rpk:' .. sub, key)
  redis.call('HDEL', a .. ':rpo:' .. sub, key)
  redis.call('DEL', list)
  return nil
end

-- Letters of an ordered lane (f.id set) leave their keys; those behind them are offered. What is asked for each key is asked for many at once.
local function leave_keys(a, sub, letters)
  local list, keys, first = {}, {}, {} -- first: key -> its new first letter; false: it has the old one; nil: none
  for _, f in ipairs(letters) do if f.lane == 'ordered' then list[#list + 1] = f end end
  remember_settled(a, sub, list)
  for _, f in ipairs(list) do
    if in_order(f) then
      local key, next = key_of(f), leave_key(a, sub, f)
      if next ~= nil and first[key] == nil then keys[#keys + 1] = key end
      if next == nil then first[key] = nil else first[key] = next or first[key] or false end
    end
  end
  for from = 1, #keys, 1000 do
    local last = math.min(from + 999, #keys)
    local walked, moved = redis.call('SMISMEMBER', a .. ':rpk:' .. sub, unpack(keys, from, last)), {}
    for i = from, last do
      if first[keys[i]] == nil then -- emptied since
      elseif walked[i - from + 1] == 1 then offer_first(a, sub, keys[i])
      elseif first[keys[i]] then moved[#moved + 1] = keys[i] end
    end
    jobs_next(a, sub, moved, first)
  end
end

-- Letters that are to be taken out for good at the end of a script, many at once.
local function settling(known) return { list = {}, seen = {}, known = known or {} } end -- known: of letters_beside, of this moment

local function settle_letter(a, sub, batch, id) -- -> 1, 0 when there is no such letter
  if batch.seen[id] then return 0 end
  local f = batch.known[id] or letter_fields(a, sub, id)
  if not f then
    redis.call('ZREM', a .. ':rpi:' .. sub, id)
    redis.call('ZREM', a .. ':rpl:' .. sub, id)
    return 0
  end
  f.id = id
  batch.seen[id] = true
  batch.list[#batch.list + 1] = f
  return 1
end

-- how: 'ok' (their replays succeeded) or 'gone' (they were dropped).
local function settle_letters(a, sub, batch, how)
  local ids, members, entries, changed, counts = {}, {}, {}, {}, {}
  for i, f in ipairs(batch.list) do
    local c = f.found
    ids[i], members[i], entries[i] = f.id, c .. '\0' .. padded(f.id), f.place
    counts[c] = (counts[c] or 0) + 1
    redis.call('ZREM', a .. ':dlqk:' .. sub .. ':' .. f.key, members[i])
    for _, part in ipairs(f.changed and { '', '/n', '/r', '/k', '/o', '/e', '/v' } or {}) do changed[#changed + 1] = f.id .. part end
  end
  if #ids == 0 then return end
  call_many(ids, 'ZREM', a .. ':rpi:' .. sub)
  call_many(ids, 'ZREM', a .. ':rpl:' .. sub)
  call_many(ids, 'SREM', a .. ':rpm:' .. sub)
  call_many(ids, 'XDEL', a .. ':dlq:' .. sub)
  call_many(ids, 'HDEL', a .. ':dlqf:' .. sub)
  call_many(changed, 'HDEL', a .. ':dlqr:' .. sub)
  call_many(entries, 'HDEL', a .. ':dlqi:' .. sub)
  call_many(members, 'ZREM', a .. ':dlqt:' .. sub)
  for c, n in pairs(counts) do
    if redis.call('HINCRBY', a .. ':dlqn:' .. sub, c, num(-n)) <= 0 then redis.call('HDEL', a .. ':dlqn:' .. sub, c) end
  end
  leave_keys(a, sub, batch.list)
  for _, f in ipairs(batch.list) do tell(a, sub, how, f) end
  job_settled(a, sub, ids, how)
end

-- A replay failed: the letter stays where it is, and its key's other letters with it. A follower that fails is a head from now on.
local function letter_failed(a, sub, id, fragment, code)
  local key, f = a .. ':dlqr:' .. sub, letter_fields(a, sub, id)
  if not f then return end
  local n = redis.call('HINCRBY', key, id .. '/n', 1)
  local old = redis.call('HGET', key, id) or ''
  if #old + #fragment < HISTORY_MAX then old = old .. fragment end
  redis.call('HSET', key, id, old .. '\72' .. varint(n)) -- field 9, replays
  local kind = f.kind == 'follower' and 'head' or f.kind
  if kind ~= f.kind or code ~= f.reason then
    index_remove(a, sub, id, f)
    f.kind, f.reason = kind, code
    index_add(a, sub, id, f)
    redis.call('HSET', key, id .. '/r', code, id .. '/k', kind)
  end
  f.id, f.found = id, combination(f)
  tell(a, sub, 'failed', f)
  redis.call('ZREM', a .. ':rpi:' .. sub, id)
  redis.call('ZREM', a .. ':rpl:' .. sub, id)
  redis.call('SREM', a .. ':rpm:' .. sub, id)
  if in_order(f) then
    if redis.call('SREM', a .. ':rpk:' .. sub, key_of(f)) == 1 then
      for _, other in ipairs(redis.call('LRANGE', letters_of(a, sub, key_of(f)), 0, -1)) do redis.call('SREM', a .. ':rpm:' .. sub, other) end
    end
    redis.call('HDEL', a .. ':rpo:' .. sub, key_of(f))
  end
  job_settled(a, sub, { id }, 'failed')
end

register('letter_unreadable', function(keys, argv) -- sub, letter, fragment, code: taken for replay, and nobody can
  letter_failed(keys[1], argv[1], argv[2], argv[3], argv[4])
  return 1
end)

-- ---- parking -----------------------------------------------------------------------------------------------------------------

-- f: topic, class, entry, key, type, reason, kind, lane; rest and frame: its pieces.
local function add_letter(a, sub, f, rest, frame)
  local dlq, words = a .. ':dlq:' .. sub, letter_words(f)
  local id = redis.call('XADD', dlq, '*', 'h', words, 'd', rest)
  local ms, n = split(id)
  if n >= PER_MS then -- the clock was set back: all letters since then are of the last millisecond that it had seen
    redis.call('XDEL', dlq, id)
    id = redis.call('XADD', dlq, num(ms + 1) .. '-0', 'h', words, 'd', rest)
  end
  redis.call('HSET', a .. ':dlqf:' .. sub, id, frame)
  redis.call('HSET', a .. ':dlqi:' .. sub, f.topic .. '/' .. f.class .. '/' .. f.entry, id)
  index_add(a, sub, id, f)
  f.id, f.found = id, combination(f)
  tell(a, sub, 'parked', f)
  return id
end

-- Idempotent by entry.
local function park(a, sub, lane, topic, class, entry, key, type, code, kind, body)
  local old = redis.call('HGET', a .. ':dlqi:' .. sub, topic .. '/' .. class .. '/' .. entry)
  --[[dedup]] if old then return old end
  local f = { topic = topic, class = class, entry = entry, key = key, type = type, kind = kind, lane = lane,
    reason = kind == 'follower' and '' or code } -- nothing is wrong with a follower
  local id = add_letter(a, sub, f, cut_frame(body))
  if in_order(f) then
    local k = key_of(f)
    redis.call('RPUSH', letters_of(a, sub, k), id)
    if redis.call('HINCRBY', a .. ':park:' .. sub, k, 1) == 1 then redis.call('HSET', a .. ':pkh:' .. sub, k, class .. '/' .. entry) end
    if redis.call('SISMEMBER', a .. ':rpk:' .. sub, k) == 1 then offer_first(a, sub, k) end
  end
  return id
end

-- ---- replay ------------------------------------------------------------------------------------------------------------------

-- As a stream's entry: what a lane reads. frame: its piece.
local function letter_entry(id, f, frame) return { id, { 'class', f.class, 'entry', f.entry, 'd', frame or '' } } end

-- sub, n, hold ms, token, topic -> letters taken for replay, oldest first. What was taken and not settled in time comes back. The
-- token is empty on a shared lane.
register('take_replays', function(keys, argv)
  local a, sub, now, out, taken, until_ms, most = keys[1], argv[1], now_ms(), {}, {}, {}, tonumber(argv[2])
  local fence = argv[4] ~= '' and redis.call('HGET', lease(a, argv[5], sub), 'token') ~= argv[4]
  --[[lease]] if fence then return redis.error_reply('FENCED the lease has another holder') end
  pump(a, sub, now)
  local latest = num(now + tonumber(argv[3]))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', a .. ':rpi:' .. sub, '(' .. latest, '+inf', 'LIMIT', 0, 1000)) do
    redis.call('ZADD', a .. ':rpi:' .. sub, latest, id) -- the clock was set back since it was taken
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', a .. ':rpi:' .. sub, '-inf', num(now), 'LIMIT', 0, 1000)) do
    redis.call('ZREM', a .. ':rpi:' .. sub, id)
    redis.call('ZADD', a .. ':rpl:' .. sub, age(id), id)
  end
  local from, found = 0, {}
  while #taken < most and from < most + 100 do -- those of other topics are in the way of few
    local ids = redis.call('ZRANGE', a .. ':rpl:' .. sub, from, from + most - #taken - 1)
    if #ids == 0 then break end
    from = from + #ids
    local known = letters_beside(a, sub, ids)
    for _, id in ipairs(ids) do
      local f = known[id] or letter_fields(a, sub, id)
      if not f then
        redis.call('ZREM', a .. ':rpl:' .. sub, id)
        job_settled(a, sub, { id }, 'gone')
        from = from - 1
      elseif f.topic == argv[5] then
        taken[#taken + 1], found[#found + 1] = id, f
        until_ms[#until_ms + 1], until_ms[#until_ms + 2] = latest, id
      end
    end
  end
  for first = 1, #taken, 1000 do
    local last = math.min(first + 999, #taken)
    local frames = redis.call('HMGET', a .. ':dlqf:' .. sub, unpack(taken, first, last))
    for i = first, last do out[i] = letter_entry(taken[i], found[i], frames[i - first + 1]) end
  end
  call_many(taken, 'ZREM', a .. ':rpl:' .. sub)
  call_many(until_ms, 'ZADD', a .. ':rpi:' .. sub)
  return out
end)

register('letter_again', function(keys, argv) -- sub, id -> {entry} or {}
  local f = letter_fields(keys[1], argv[1], argv[2])
  return f and { letter_entry(argv[2], f, redis.call('HGET', keys[1] .. ':dlqf:' .. argv[1], argv[2])) } or {}
end)

-- sub, who, id, … -> newly marked. On an ordered lane the whole key is tried again, from its first letter on: later ones only wait
-- for it, and it must not be overtaken.
register('mark_replay', function(keys, argv)
  local a, sub, n = keys[1], argv[1], 0
  for i = 3, #argv do
    local f = letter_fields(a, sub, argv[i])
    if f and not redis.call('ZSCORE', a .. ':rpi:' .. sub, argv[i]) then
      n = n + redis.call('SADD', a .. ':rpm:' .. sub, argv[i])
      if in_order(f) then
        redis.call('SADD', a .. ':rpk:' .. sub, key_of(f))
        offer_first(a, sub, key_of(f))
      else
        redis.call('ZADD', a .. ':rpl:' .. sub, 'NX', age(argv[i]), argv[i])
      end
    end
  end
  audit(a, 'action', 'replay', 'who', argv[2], 'subscription', sub, 'count', num(n), 'first', argv[3] or '')
  return n
end)

-- ---- changing ----------------------------------------------------------------------------------------------------------------

register('purge', function(keys, argv) -- sub, who, why, id, …
  local n, batch = 0, settling(letters_beside(keys[1], argv[1], { unpack(argv, 4) }))
  for i = 4, #argv do n = n + settle_letter(keys[1], argv[1], batch, argv[i]) end
  settle_letters(keys[1], argv[1], batch, 'gone')
  audit(keys[1], 'action', 'purge', 'who', argv[2], 'why', argv[3], 'subscription', argv[1], 'count', num(n), 'first', argv[4] or '')
  return n
end)

-- sub, id, number of edits known, who, why, frame, original, edit (pieces), hash before, hash after -> 1, 0 no such letter, -1 somebody
-- else edited it, -2 it is being tried
register('edit_letter', function(keys, argv)
  local a, sub, id = keys[1], argv[1], argv[2]
  local key = a .. ':dlqr:' .. sub
  local frame, old = redis.call('HGET', a .. ':dlqf:' .. sub, id), redis.call('HMGET', key, id .. '/v', id .. '/e')
  if not frame then return 0 end
  if frame == argv[6] then return 1 end -- this very edit, sent again
  if (old[1] or '0') ~= argv[3] then return -1 end
  if redis.call('ZSCORE', a .. ':rpi:' .. sub, id) then return -2 end
  redis.call('HSET', a .. ':dlqf:' .. sub, id, argv[6])
  redis.call('HSET', key, id .. '/e', (old[2] or '') .. argv[8], id .. '/v', num(tonumber(argv[3]) + 1))
  redis.call('HSETNX', key, id .. '/o', argv[7])
  audit(a, 'action', 'edit', 'who', argv[4], 'why', argv[5], 'subscription', sub, 'letter', id, 'before', argv[9], 'after', argv[10])
  return 1
end)

-- sub, id, who, why -> 1, 0 no such letter, -1 not the first of its key, -2 being tried, -3 nothing waits behind it. The letter stays, out
-- of its key's order, and those behind it are tried.
register('skip_letter', function(keys, argv)
  local a, sub, id = keys[1], argv[1], argv[2]
  local f = letter_fields(a, sub, id)
  if not f then return 0 end
  if f.kind == 'skipped' then return 1 end
  if not in_order(f) then return -3 end
  if redis.call('LINDEX', letters_of(a, sub, key_of(f)), 0) ~= id then return -1 end
  if redis.call('ZSCORE', a .. ':rpi:' .. sub, id) then return -2 end
  redis.call('ZREM', a .. ':rpl:' .. sub, id)
  redis.call('SREM', a .. ':rpm:' .. sub, id)
  redis.call('SADD', a .. ':rpk:' .. sub, key_of(f))
  f.id = id
  leave_keys(a, sub, { f })
  job_settled(a, sub, { id }, 'gone')
  index_remove(a, sub, id, f)
  f.kind = 'skipped'
  index_add(a, sub, id, f)
  redis.call('HSET', a .. ':dlqr:' .. sub, id .. '/k', 'skipped', id .. '/r', f.reason)
  audit(a, 'action', 'skip', 'who', argv[3], 'why', argv[4], 'subscription', sub, 'letter', id, 'key', f.key)
  return 1
end)

-- Where an imported letter belongs among those of its key: before the first younger one of its class.
local function insert_in_order(a, sub, id, f)
  local list, k = letters_of(a, sub, key_of(f)), key_of(f)
  local class, entry = string.match(redis.call('HGET', a .. ':pkh:' .. sub, k) or '', '^(.-)/(.*)$')
  local first = redis.call('HINCRBY', a .. ':park:' .. sub, k, 1) == 1
  if first or (class == f.class and less(f.entry, entry)) then
    redis.call('HSET', a .. ':pkh:' .. sub, k, f.class .. '/' .. f.entry)
  end
  -- An owner at work does not know that the key is parked now: it is fenced, takes over from itself and reads the parked keys again.
  if first and redis.call('HEXISTS', lease(a, f.topic, sub), 'token') == 1 then redis.call('HSET', lease(a, f.topic, sub), 'token', 'imported') end
  for _, other in ipairs(redis.call('LRANGE', list, 0, -1)) do
    local o = letter_fields(a, sub, other)
    if o and o.class == f.class and less(f.entry, o.entry) then
      redis.call('LINSERT', list, 'BEFORE', other, id)
      return
    end
  end
  redis.call('RPUSH', list, id)
end

local IMPORTS_MAX = 1000000 -- remembered

-- sub, digest, topic, class, entry, key, type, reason, kind, lane, rest, frame, original, edits, history, replays -> 1 when it is new. The
-- same file once more changes nothing, also when its letters were settled since.
redis.register_function(NAME .. 'import_letter', function(keys, argv)
  local a, sub, known = keys[1], argv[1], keys[1] .. ':dlqm:' .. argv[1]
  local f = { topic = argv[3], class = argv[4], entry = argv[5], key = argv[6], type = argv[7], reason = argv[8], kind = argv[9], lane = argv[10] }
  local first = redis.call('ZADD', known, 'NX', num(now_ms()), argv[2]) == 1
  redis.call('ZREMRANGEBYRANK', known, 0, -IMPORTS_MAX - 1)
  if not first or redis.call('HEXISTS', a .. ':dlqi:' .. sub, f.topic .. '/' .. f.class .. '/' .. f.entry) == 1 then return 0 end
  local id = add_letter(a, sub, f, argv[11], argv[12])
  if argv[13] ~= '' then redis.call('HSET', a .. ':dlqr:' .. sub, id .. '/o', argv[13], id .. '/e', argv[14], id .. '/v', '1') end
  if argv[15] ~= '' then redis.call('HSET', a .. ':dlqr:' .. sub, id, argv[15], id .. '/n', argv[16]) end
  if in_order(f) then insert_in_order(a, sub, id, f) end
  return 1
end)
