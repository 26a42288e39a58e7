-- memory.lua - as much of Redis as the bus uses, in memory: the store of "memory://name", and of the simulator (tests/support/sim_redis.c).
--
-- Runs the bus' own functions (weir.lua) as they are. Deterministic: time comes from outside (now_us). simulation_model_test.c checks it against a real Redis
-- with the same commands. A key's value is {t = type, …}; every command that changes a key says so first (touch), which for the simulator keeps
-- the former value: it can go back by the last k operations.

-- Programs of milliseconds: compiling them costs more than it gives.
jit.off()
local db, log, op, versions = {}, {}, nil, {}
local functions, conns, run_id = {}, {}, 'run-0'
local now_us, oom, history = 0, false, true
local KEEP = 256 -- operations that can be gone back

-- ---- values --------------------------------------------------------------------------------------------------------------------

local function copy_group(g)
  local c = { last = g.last, read = g.read, pending = {}, order = {}, consumers = {} }
  for id, p in pairs(g.pending) do c.pending[id] = { consumer = p.consumer, at = p.at, count = p.count } end
  for name, k in pairs(g.consumers) do c.consumers[name] = { seen = k.seen } end
  return c
end

local function copy(v)
  if not v then return false end
  local c = { t = v.t, last = v.last, from = v.from, to = v.to }
  if v.v then
    c.v = {}
    for k, x in pairs(v.v) do c.v[k] = x end
  end
  if v.groups then
    c.groups = {}
    for name, g in pairs(v.groups) do c.groups[name] = copy_group(g) end
  end
  return c
end

local function touch(key)
  if op and op[key] == nil then op[key] = copy(db[key]) end
  if versions[key] then versions[key] = versions[key] + 1 end -- somebody watches it
end

local function get(key, t)
  local v = db[key]
  if v and v.t ~= t then error({ err = 'WRONGTYPE Operation against a key holding the wrong kind of value' }, 0) end
  return v
end

local function make(key, t)
  touch(key)
  local v = get(key, t)
  if not v then
    v = { t = t, v = {} }
    if t == 'stream' then v.groups, v.last, v.from, v.to = {}, '0-0', 1, 0 end
    db[key] = v
  end
  v.list = nil
  return v
end

local function drop_if_empty(key)
  local v = db[key]
  if v and v.t ~= 'stream' and next(v.v) == nil then db[key] = nil end
end

-- ---- stream ids ------------------------------------------------------------------------------------------------------------------

local function split(id, default)
  local g, s = string.match(id, '^(%d+)%-(%d+)$')
  if not g then g, s = string.match(id, '^(%d+)$'), default end
  if not g then error({ err = 'ERR Invalid stream ID specified as stream command argument: ' .. tostring(id) }, 0) end
  return tonumber(g), tonumber(s)
end

local function less(a, b)
  local ag, as = split(a, 0)
  local bg, bs = split(b, 0)
  return ag < bg or (ag == bg and as < bs)
end

local function text(n) return string.format('%.0f', n) end

-- First index of v.v (from .. to) whose id is not below (or, after: above) id.
local function find(v, id, after)
  local low, high = v.from, v.to + 1
  while low < high do
    local mid = math.floor((low + high) / 2)
    local entry = v.v[mid][1]
    if less(entry, id) or (after and entry == id) then low = mid + 1 else high = mid end
  end
  return low
end

-- Entries are kept by index; deleting one moves the rest.
local function delete_at(v, i)
  table.remove(v.v, i - v.from + 1)
  v.to = v.to - 1
end

local function rebase(v) -- indexes begin at 1 again, so that table.remove works
  if v.from == 1 then return end
  local list = {}
  for i = v.from, v.to do list[#list + 1] = v.v[i] end
  v.v, v.from, v.to = list, 1, #list
end

local function bounds(v, low, high)
  local from, to
  if low == '-' then from = v.from
  elseif string.sub(low, 1, 1) == '(' then from = find(v, string.sub(low, 2), true)
  else
    local g, s = split(low, 0)
    from = find(v, text(g) .. '-' .. text(s))
  end
  if high == '+' then to = v.to
  elseif string.sub(high, 1, 1) == '(' then to = find(v, string.sub(high, 2)) - 1
  else
    local g, s = split(high, 9007199254740991)
    to = find(v, text(g) .. '-' .. text(s), true) - 1
  end
  return from, to
end

-- ---- commands --------------------------------------------------------------------------------------------------------------------

local OK, QUEUED = { ok = 'OK' }, { ok = 'QUEUED' }
local C, writes = {}, {}
local function on(names, write, f)
  for name in string.gmatch(names, '%S+') do
    C[name] = f
    writes[name] = write
  end
end

local function number(s)
  local n = tonumber(s)
  if not n then error({ err = 'ERR value is not an integer or out of range' }, 0) end
  return n
end

on('PING', false, function() return { ok = 'PONG' } end)
on('AUTH SELECT', false, function() return OK end)
on('TIME', false, function() return { text(math.floor(now_us / 1000000)), text(now_us % 1000000) } end)
on('EXISTS', false, function(_, ...)
  local n = 0
  for _, key in ipairs({ ... }) do if db[key] then n = n + 1 end end
  return n
end)
on('DEL', true, function(_, ...)
  local n = 0
  for _, key in ipairs({ ... }) do
    if db[key] then
      touch(key)
      db[key] = nil
      n = n + 1
    end
  end
  return n
end)
on('FLUSHALL', true, function()
  for key in pairs(db) do touch(key) end
  db = {}
  return OK
end)
on('MEMORY', false, function(_, _, key) return db[key] and 1000 or false end)
on('CLIENT', false, function(conn, sub, a)
  sub = string.upper(sub)
  if sub == 'SETNAME' then conn.name = a
  elseif sub == 'REPLY' then conn.silent = string.upper(a) == 'OFF'
  elseif sub == 'LIST' then
    local out = {}
    for _, c in pairs(conns) do out[#out + 1] = 'id=1 addr=x name=' .. (c.name or '') .. ' age=1' end
    table.sort(out)
    return table.concat(out, '\n') .. '\n'
  end
  return OK
end)
on('INFO', false, function()
  return 'redis_version:7.0.15\r\nrun_id:' .. run_id .. '\r\nused_memory:1\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n'
end)

-- strings
local expiring = {} -- key -> when, of strings only: nothing else is given a time
local function expire()
  for key, at in pairs(expiring) do
    if at <= now_us then
      touch(key)
      db[key], expiring[key] = nil, nil
    end
  end
end
on('SET', true, function(_, key, value, ...)
  local ms, how
  local words = { ... }
  for i, word in ipairs(words) do
    word = string.upper(word)
    if word == 'PX' then ms = number(words[i + 1]) elseif word == 'NX' or word == 'XX' then how = word end
  end
  expire()
  if how and (how == 'NX') == (db[key] ~= nil) then return false end
  touch(key)
  db[key] = { t = 'string', v = { value } }
  expiring[key] = ms and now_us + ms * 1000 or nil
  return OK
end)
on('GET', false, function(_, key)
  expire()
  local s = get(key, 'string')
  return s and s.v[1] or false
end)

-- hashes
on('HGET', false, function(_, key, field) local h = get(key, 'hash') return h and h.v[field] or false end)
on('HMGET', false, function(_, key, ...)
  local h, out = get(key, 'hash'), {}
  for i, field in ipairs({ ... }) do out[i] = h and h.v[field] or false end
  return out
end)
on('HSTRLEN', false, function(_, key, field) local h = get(key, 'hash') return h and h.v[field] and #h.v[field] or 0 end)
on('HEXISTS', false, function(_, key, field) local h = get(key, 'hash') return h and h.v[field] and 1 or 0 end)
local function fields_of(h)
  local names = {}
  for name in pairs(h and h.v or {}) do names[#names + 1] = name end
  table.sort(names)
  return names
end
on('HKEYS', false, function(_, key) return fields_of(get(key, 'hash')) end)
on('HLEN', false, function(_, key) return #fields_of(get(key, 'hash')) end)
on('HGETALL', false, function(_, key)
  local h, out = get(key, 'hash'), {}
  for _, name in ipairs(fields_of(h)) do
    out[#out + 1] = name
    out[#out + 1] = h.v[name]
  end
  return out
end)
on('HSET', true, function(_, key, ...)
  local h, n, list = make(key, 'hash'), 0, { ... }
  for i = 1, #list, 2 do
    if not h.v[list[i]] then n = n + 1 end
    h.v[list[i]] = list[i + 1]
  end
  return n
end)
on('HSETNX', true, function(_, key, field, value)
  local h = make(key, 'hash')
  if h.v[field] then return 0 end
  h.v[field] = value
  return 1
end)
on('HINCRBY', true, function(_, key, field, by)
  local h = make(key, 'hash')
  h.v[field] = text(number(h.v[field] or '0') + number(by))
  return number(h.v[field])
end)
on('HDEL', true, function(_, key, ...)
  local h, n = make(key, 'hash'), 0
  for _, field in ipairs({ ... }) do
    if h.v[field] then
      h.v[field] = nil
      n = n + 1
    end
  end
  drop_if_empty(key)
  return n
end)

-- sets
on('SADD', true, function(_, key, ...)
  local s, n = make(key, 'set'), 0
  for _, m in ipairs({ ... }) do
    if not s.v[m] then n = n + 1 end
    s.v[m] = true
  end
  return n
end)
on('SREM', true, function(_, key, ...)
  local s, n = make(key, 'set'), 0
  for _, m in ipairs({ ... }) do
    if s.v[m] then n = n + 1 end
    s.v[m] = nil
  end
  drop_if_empty(key)
  return n
end)
on('SISMEMBER', false, function(_, key, m) local s = get(key, 'set') return s and s.v[m] and 1 or 0 end)
on('SMISMEMBER', false, function(_, key, ...)
  local s, out = get(key, 'set'), {}
  for i, m in ipairs({ ... }) do out[i] = s and s.v[m] and 1 or 0 end
  return out
end)
on('SMEMBERS', false, function(_, key) return fields_of(get(key, 'set')) end)
on('SCARD', false, function(_, key) return #fields_of(get(key, 'set')) end)

-- lists
on('RPUSH', true, function(_, key, ...)
  local l = make(key, 'list')
  for _, x in ipairs({ ... }) do l.v[#l.v + 1] = x end
  return #l.v
end)
on('LPUSH', true, function(_, key, ...)
  local l = make(key, 'list')
  for _, x in ipairs({ ... }) do table.insert(l.v, 1, x) end
  return #l.v
end)
on('LPOP', true, function(_, key, count)
  if not get(key, 'list') then return false end
  local l, out = make(key, 'list').v, {}
  for i = 1, math.min(count and number(count) or 1, #l) do out[i] = table.remove(l, 1) end
  drop_if_empty(key)
  if count then return out end
  return out[1] or false
end)
on('LLEN', false, function(_, key) local l = get(key, 'list') return l and #l.v or 0 end)
on('LINDEX', false, function(_, key, i)
  local l = get(key, 'list')
  i = number(i)
  return l and l.v[i < 0 and #l.v + i + 1 or i + 1] or false
end)
local function slice(list, low, high)
  local out, n = {}, #list
  low, high = number(low), number(high)
  low, high = low < 0 and math.max(n + low, 0) or low, high < 0 and n + high or high
  for i = low + 1, math.min(high + 1, n) do out[#out + 1] = list[i] end
  return out
end
on('LRANGE', false, function(_, key, low, high) local l = get(key, 'list') return l and slice(l.v, low, high) or {} end)
on('LREM', true, function(_, key, count, x)
  if not get(key, 'list') then return 0 end
  local l, n = make(key, 'list'), 0
  for i = #l.v, 1, -1 do if l.v[i] == x then n = n + 1 end end
  local kept, left = {}, number(count) > 0 and number(count) or n
  for _, y in ipairs(l.v) do
    if y == x and left > 0 then left = left - 1 else kept[#kept + 1] = y end
  end
  n = #l.v - #kept
  l.v = kept
  drop_if_empty(key)
  return n
end)
on('LINSERT', true, function(_, key, where, pivot, x)
  if not get(key, 'list') then return 0 end
  local l = make(key, 'list')
  for i, y in ipairs(l.v) do
    if y == pivot then
      table.insert(l.v, string.upper(where) == 'BEFORE' and i or i + 1, x)
      return #l.v
    end
  end
  drop_if_empty(key)
  return -1
end)

-- sorted sets: v is member -> score; list: the same in order, once somebody asked
local function sorted(z)
  if z and z.list then return z.list end
  local list = {}
  for m, s in pairs(z and z.v or {}) do list[#list + 1] = { m, s } end
  table.sort(list, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
  if z then z.list = list end -- until it changes (make)
  return list
end
local function members(list)
  local out = {}
  for i, e in ipairs(list) do out[i] = e[1] end
  return out
end
on('ZADD', true, function(_, key, ...)
  local list, z, xx, ch, n = { ... }, make(key, 'zset'), false, false, 0
  while list[1] == 'XX' or list[1] == 'CH' or list[1] == 'NX' do
    local word = table.remove(list, 1)
    xx, ch = xx or word == 'XX', ch or word == 'CH'
  end
  for i = 1, #list, 2 do
    local score, m = number(list[i]), list[i + 1]
    local old = z.v[m]
    if old or not xx then
      if not old or (ch and old ~= score) then n = n + 1 end
      z.v[m] = score
    end
  end
  drop_if_empty(key)
  return n
end)
on('ZREM', true, function(_, key, ...)
  local z, n = make(key, 'zset'), 0
  for _, m in ipairs({ ... }) do
    if z.v[m] then n = n + 1 end
    z.v[m] = nil
  end
  drop_if_empty(key)
  return n
end)
on('ZSCORE', false, function(_, key, m) local z = get(key, 'zset') return z and z.v[m] and text(z.v[m]) or false end)
on('ZMSCORE', false, function(_, key, ...)
  local z, out = get(key, 'zset'), {}
  for i, m in ipairs({ ... }) do out[i] = z and z.v[m] and text(z.v[m]) or false end
  return out
end)
on('ZCARD', false, function(_, key) return #sorted(get(key, 'zset')) end)
on('ZRANGE', false, function(_, key, low, high) return slice(members(sorted(get(key, 'zset'))), low, high) end)
on('ZREVRANGE', false, function(_, key, low, high)
  local list, back = members(sorted(get(key, 'zset'))), {}
  for i = #list, 1, -1 do back[#back + 1] = list[i] end
  return slice(back, low, high)
end)
local function above(x, low, lex)
  if low == '-' or low == '-inf' then return true end
  local first = string.sub(low, 1, 1)
  if lex then return first == '[' and x >= string.sub(low, 2) or first == '(' and x > string.sub(low, 2) end
  if first == '(' then return x > number(string.sub(low, 2)) end
  return x >= number(low)
end
local function below(x, high, lex)
  if high == '+' or high == '+inf' then return true end
  local first = string.sub(high, 1, 1)
  if lex then return first == '[' and x <= string.sub(high, 2) or first == '(' and x < string.sub(high, 2) end
  if first == '(' then return x < number(string.sub(high, 2)) end
  return x <= number(high)
end
local function range(key, low, high, lex, limit, offset, count)
  local out = {}
  for _, e in ipairs(sorted(get(key, 'zset'))) do
    local x = lex and e[1] or e[2]
    if above(x, low, lex) and below(x, high, lex) then out[#out + 1] = e[1] end
  end
  if limit then
    local cut = {}
    for i = number(offset) + 1, number(count) < 0 and #out or math.min(#out, number(offset) + number(count)) do cut[#cut + 1] = out[i] end
    return cut
  end
  return out
end
on('ZRANGEBYLEX', false, function(_, key, low, high, limit, offset, count) return range(key, low, high, true, limit, offset, count) end)
on('ZRANGEBYSCORE', false, function(_, key, low, high, limit, offset, count) return range(key, low, high, false, limit, offset, count) end)
on('ZLEXCOUNT', false, function(_, key, low, high) return #range(key, low, high, true) end)
on('ZREMRANGEBYRANK', true, function(_, key, low, high)
  if not get(key, 'zset') then return 0 end
  local z, n = make(key, 'zset'), 0
  for _, m in ipairs(slice(members(sorted(z)), low, high)) do
    z.v[m] = nil
    n = n + 1
  end
  z.list = nil
  drop_if_empty(key)
  return n
end)

-- streams
local function trim_to(v, from)
  local n = from - v.from
  for i = v.from, from - 1 do v.v[i] = nil end
  if n > 0 then v.from = from end
  return n
end
on('XADD', true, function(_, key, ...)
  local list, v = { ... }, make(key, 'stream')
  local max
  if list[1] == 'MAXLEN' then
    table.remove(list, 1)
    if list[1] == '~' or list[1] == '=' then table.remove(list, 1) end
    max = number(table.remove(list, 1))
  end
  local id = table.remove(list, 1)
  if id == '*' then
    local g, s = split(v.last)
    local ms = math.floor(now_us / 1000)
    id = ms > g and text(ms) .. '-0' or text(g) .. '-' .. text(s + 1)
  end
  local generation = string.match(id, '^(%d+)%-%*$')
  if generation then
    local g, n = split(v.last)
    id = generation .. '-' .. (tonumber(generation) == g and text(n + 1) or '0')
  end
  if not less(v.last, id) then
    error({ err = 'ERR The ID specified in XADD is equal or smaller than the target stream top item' }, 0)
  end
  v.to = v.to + 1
  v.v[v.to] = { id, list }
  v.last = id
  if max and v.to - v.from + 1 > max then trim_to(v, v.to - max + 1) end
  return id
end)
on('XLEN', false, function(_, key) local v = get(key, 'stream') return v and v.to - v.from + 1 or 0 end)
on('XRANGE', false, function(_, key, low, high, _, count)
  local v, out = get(key, 'stream'), {}
  if not v then return out end
  local from, to = bounds(v, low, high)
  for i = from, math.min(to, count and from + number(count) - 1 or to) do out[#out + 1] = v.v[i] end
  return out
end)
on('XREVRANGE', false, function(_, key, high, low, _, count)
  local v, out = get(key, 'stream'), {}
  if not v then return out end
  local from, to = bounds(v, low, high)
  for i = to, math.max(from, count and to - number(count) + 1 or from), -1 do out[#out + 1] = v.v[i] end
  return out
end)
on('XDEL', true, function(_, key, ...)
  if not get(key, 'stream') then return 0 end
  local v, n = make(key, 'stream'), 0
  rebase(v)
  for _, id in ipairs({ ... }) do
    local i = find(v, id)
    if i <= v.to and v.v[i][1] == id then
      delete_at(v, i)
      n = n + 1
    end
  end
  return n
end)
on('XTRIM', true, function(_, key, how, a, b)
  if not get(key, 'stream') then return 0 end
  local v = make(key, 'stream')
  local bound = (a == '~' or a == '=') and b or a
  if how == 'MAXLEN' then return v.to - v.from + 1 > number(bound) and trim_to(v, v.to - number(bound) + 1) or 0 end
  local from = find(v, bound)
  return a == '~' and history and 0 or trim_to(v, from) -- approximately: it may well leave all of them
end)
on('XGROUP', true, function(_, sub, key, name, a, b, c)
  sub = string.upper(sub)
  if sub == 'CREATE' then
    if not get(key, 'stream') and b ~= 'MKSTREAM' then error({ err = 'ERR The XGROUP subcommand requires the key to exist.' }, 0) end
    local v = make(key, 'stream')
    if v.groups[name] then error({ err = 'BUSYGROUP Consumer Group name already exists' }, 0) end
    local g, s = split(a == '$' and v.last or a, 0)
    v.groups[name] = { last = text(g) .. '-' .. text(s), pending = {}, consumers = {} }
    return OK
  end
  local had = get(key, 'stream')
  if not had then error({ err = 'ERR The XGROUP subcommand requires the key to exist.' }, 0) end
  if sub == 'DESTROY' then
    if not had.groups[name] then return 0 end
    make(key, 'stream').groups[name] = nil
    return 1
  end
  if not had.groups[name] then error({ err = "NOGROUP No such consumer group '" .. name .. "' for key name '" .. key .. "'" }, 0) end
  local g = make(key, 'stream').groups[name]
  if sub == 'SETID' then
    local generation, s = split(a, 0)
    g.last, g.read = text(generation) .. '-' .. text(s), c and number(c) or nil
    return OK
  end
  local n = 0 -- DELCONSUMER
  for id, p in pairs(g.pending) do
    if p.consumer == a then
      g.pending[id] = nil
      n = n + 1
    end
  end
  g.consumers[a] = nil
  return n
end)

local function group_of(key, name)
  local v = get(key, 'stream')
  if not v or not v.groups[name] then
    error({ err = "NOGROUP No such key '" .. key .. "' or consumer group '" .. name .. "'" }, 0)
  end
  return v.groups[name], v
end
local function pending_ids(g)
  local ids = {}
  for id in pairs(g.pending) do ids[#ids + 1] = id end
  table.sort(ids, less)
  return ids
end
-- As Redis counts it: the clock may have been set back since.
local function ms_since(at) return math.max(0, math.floor((now_us - at) / 1000)) end
on('XINFO', false, function(_, sub, key, name)
  sub = string.upper(sub)
  local v = get(key, 'stream')
  if not v then error({ err = 'ERR no such key' }, 0) end
  if sub == 'STREAM' then return { 'length', v.to - v.from + 1, 'last-generated-id', v.last } end
  local out = {}
  if sub == 'GROUPS' then
    local names = {}
    for n in pairs(v.groups) do names[#names + 1] = n end
    table.sort(names)
    for i, n in ipairs(names) do
      out[i] = { 'name', n, 'consumers', 0, 'pending', #pending_ids(v.groups[n]), 'last-delivered-id', v.groups[n].last }
    end
    return out
  end
  local g = group_of(key, name)
  local names, count = {}, {}
  for n in pairs(g.consumers) do names[#names + 1] = n end
  table.sort(names)
  for _, p in pairs(g.pending) do count[p.consumer] = (count[p.consumer] or 0) + 1 end
  for i, n in ipairs(names) do
    out[i] = { 'name', n, 'pending', count[n] or 0, 'idle', ms_since(g.consumers[n].seen) }
  end
  return out
end)
on('XPENDING', false, function(_, key, name, ...)
  local g, list = group_of(key, name), { ... }
  local ids = pending_ids(g)
  if #list == 0 then
    local count, names, rows = {}, {}, {}
    for _, p in pairs(g.pending) do
      if not count[p.consumer] then names[#names + 1] = p.consumer end
      count[p.consumer] = (count[p.consumer] or 0) + 1
    end
    table.sort(names)
    for i, name_ in ipairs(names) do rows[i] = { name_, text(count[name_]) } end
    return { #ids, ids[1] or false, ids[#ids] or false, #ids > 0 and rows or false }
  end
  local idle = 0
  if list[1] == 'IDLE' then
    idle = number(list[2])
    table.remove(list, 1)
    table.remove(list, 1)
  end
  local out, low, high, count, consumer = {}, list[1], list[2], number(list[3]), list[4]
  local open = string.sub(low, 1, 1) == '('
  if open then low = string.sub(low, 2) end
  for _, id in ipairs(ids) do
    local p = g.pending[id]
    local in_range = (low == '-' or less(low, id) or (low == id and not open)) and (high == '+' or not less(high, id))
    if #out < count and in_range and (not consumer or p.consumer == consumer) and ms_since(p.at) >= idle then
      out[#out + 1] = { id, p.consumer, ms_since(p.at), p.count }
    end
  end
  return out
end)
on('XACK', true, function(_, key, name, ...)
  local v = get(key, 'stream')
  if not v or not v.groups[name] then return 0 end
  local g, n = make(key, 'stream').groups[name], 0
  for _, id in ipairs({ ... }) do
    if g.pending[id] then n = n + 1 end
    g.pending[id] = nil
  end
  return n
end)
local function consumer_of(g, name)
  g.consumers[name] = g.consumers[name] or { seen = now_us }
  g.consumers[name].seen = now_us
end
on('XCLAIM', true, function(_, key, name, consumer, idle, ...)
  group_of(key, name)
  local v = make(key, 'stream')
  local g, out, list, just = v.groups[name], {}, { ... }, false
  consumer_of(g, consumer)
  for _, id in ipairs(list) do
    if id == 'JUSTID' then just = true end
  end
  for _, id in ipairs(list) do
    local p = g.pending[id]
    if p and ms_since(p.at) >= number(idle) then
      local i = find(v, id)
      local there = i <= v.to and v.v[i][1] == id
      if there then
        g.pending[id] = { consumer = consumer, at = now_us, count = p.count + (just and 0 or 1) }
        out[#out + 1] = just and id or v.v[i]
      else
        g.pending[id] = nil
      end
    end
  end
  return out
end)

local function parse_streams(list, i)
  local n = (#list - i) / 2
  local keys, ids = {}, {}
  for k = 1, n do keys[k], ids[k] = list[i + k], list[i + n + k] end
  return keys, ids
end
-- Blocking reads answer {blocked = ms} when there is nothing: the caller lets that time pass.
on('XREAD', false, function(_, ...)
  local list, count, block, i, out = { ... }, nil, nil, 1, {}
  while list[i] ~= 'STREAMS' do
    if list[i] == 'COUNT' then count = number(list[i + 1]) else block = number(list[i + 1]) end
    i = i + 2
  end
  local keys, ids = parse_streams(list, i)
  for k, key in ipairs(keys) do
    local v, entries = get(key, 'stream'), {}
    if v then
      local from = find(v, ids[k] == '$' and v.last or ids[k], true)
      for at = from, math.min(v.to, count and from + count - 1 or v.to) do entries[#entries + 1] = v.v[at] end
    end
    if #entries > 0 then out[#out + 1] = { key, entries } end
  end
  return #out > 0 and out or block and { blocked = block } or false
end)
on('XREADGROUP', true, function(_, _, name, consumer, ...)
  local list, count, block, noack, i, out = { ... }, nil, nil, false, 1, {}
  while list[i] ~= 'STREAMS' do
    if list[i] == 'NOACK' then
      noack = true
      i = i + 1
    else
      if list[i] == 'COUNT' then count = number(list[i + 1]) else block = number(list[i + 1]) end
      i = i + 2
    end
  end
  local keys = parse_streams(list, i)
  for _, key in ipairs(keys) do group_of(key, name) end
  for _, key in ipairs(keys) do
    local v = make(key, 'stream')
    local g, entries = v.groups[name], {}
    consumer_of(g, consumer)
    local from = find(v, g.last, true)
    for at = from, math.min(v.to, count and from + count - 1 or v.to) do
      entries[#entries + 1] = v.v[at]
      g.last = v.v[at][1]
      if not noack then g.pending[g.last] = { consumer = consumer, at = now_us, count = 1 } end
    end
    if #entries > 0 then out[#out + 1] = { key, entries } end
  end
  return #out > 0 and out or block and { blocked = block } or false
end)

-- ---- functions -------------------------------------------------------------------------------------------------------------------

local function as_text(x) return type(x) == 'number' and string.format('%.17g', x) or x end

local inside = { name = 'script' }
local may_write = true -- a function without the flag allow-oom must not when there is no memory
local function call(name, ...)
  local list = { ... }
  for i, x in ipairs(list) do list[i] = as_text(x) end
  name = string.upper(name)
  if not C[name] then error({ err = 'ERR Unknown Redis command called from script: ' .. name }, 0) end
  if writes[name] and not may_write then error({ err = 'OOM command not allowed when used memory > maxmemory' }, 0) end
  return C[name](inside, unpack(list))
end
local function pcall_(name, ...)
  local fine, result = pcall(call, name, ...)
  if fine then return result end
  return type(result) == 'table' and result or { err = 'ERR ' .. tostring(result) }
end

on('FUNCTION', false, function(_, sub, a, b)
  sub = string.upper(sub)
  if sub == 'FLUSH' then
    functions = {}
    return OK
  end
  local code = b or a
  local redis = { call = call, pcall = pcall_ }
  function redis.error_reply(words) return { err = words } end
  function redis.status_reply(words) return { ok = words } end
  function redis.register_function(first, f)
    local def = type(first) == 'table' and first or { function_name = first, callback = f, flags = {} }
    local allow = false
    for _, flag in ipairs(def.flags or {}) do allow = allow or flag == 'allow-oom' end
    functions[def.function_name] = { f = def.callback, allow_oom = allow }
  end
  local env = { redis = redis, bit = bit, string = string, table = table, math = math, ipairs = ipairs, pairs = pairs, tonumber = tonumber,
    tostring = tostring, unpack = unpack, type = type, next = next, select = select, error = error, pcall = pcall, assert = assert,
    setmetatable = setmetatable, rawget = rawget }
  local chunk, why = loadstring((string.gsub(code, '^#![^\n]*', '')), '=user_function')
  if not chunk then return { err = 'ERR Error compiling function: ' .. why } end
  setfenv(chunk, env)
  local fine, wrong = pcall(chunk)
  if not fine then return { err = 'ERR Error registering functions: ' .. tostring(wrong) } end
  return 'weir'
end)
on('FCALL', true, function(_, name, n, ...)
  local f, list, keys, argv = functions[name], { ... }, {}, {}
  if not f then error({ err = 'ERR Function not found' }, 0) end
  for i, x in ipairs(list) do if i <= number(n) then keys[#keys + 1] = x else argv[#argv + 1] = x end end
  if oom and not f.allow_oom then error({ err = "OOM command not allowed when used memory > 'maxmemory'." }, 0) end
  local fine, result = pcall(f.f, keys, argv)
  if fine then return result end
  if type(result) == 'table' and result.err then return result end
  return { err = 'ERR ' .. tostring(result) }
end)

-- ---- transactions ----------------------------------------------------------------------------------------------------------------

on('WATCH', false, function(conn, ...)
  conn.watched = conn.watched or {}
  for _, key in ipairs({ ... }) do
    versions[key] = versions[key] or 1
    conn.watched[key] = versions[key]
  end
  return OK
end)
on('UNWATCH', false, function(conn) conn.watched = nil return OK end)
on('MULTI', false, function(conn) conn.queue = {} return OK end)
on('DISCARD', false, function(conn) conn.queue, conn.watched = nil, nil return OK end)

local function perform(conn, list)
  local name = string.upper(list[1])
  local f = C[name]
  if not f then return { err = "ERR unknown command '" .. list[1] .. "'" } end
  if oom and writes[name] and name ~= 'FCALL' and name ~= 'DEL' and name ~= 'XACK' then
    return { err = "OOM command not allowed when used memory > 'maxmemory'." }
  end
  local fine, result = pcall(f, conn, unpack(list, 2))
  if fine then return result end
  return type(result) == 'table' and result or { err = 'ERR ' .. tostring(result) }
end

local function exec(conn)
  local queue, watched = conn.queue, conn.watched or {}
  conn.queue, conn.watched = nil, nil
  if not queue then return { err = 'ERR EXEC without MULTI' } end
  for key, version in pairs(watched) do if versions[key] ~= version then return false end end
  local out = {}
  for i, list in ipairs(queue) do out[i] = perform(conn, list) end
  return out
end

-- ---- outside ---------------------------------------------------------------------------------------------------------------------

local function encode(x, out)
  local t = type(x)
  if t == 'string' then out[#out + 1] = '$' .. #x .. '\r\n' .. x .. '\r\n'
  elseif t == 'number' then out[#out + 1] = ':' .. text(x < 0 and math.ceil(x) or math.floor(x)) .. '\r\n'
  elseif t == 'boolean' then out[#out + 1] = x and ':1\r\n' or '$-1\r\n'
  elseif t == 'nil' then out[#out + 1] = '$-1\r\n'
  elseif x.err then out[#out + 1] = '-' .. string.gsub(x.err, '[\r\n]', ' ') .. '\r\n'
  elseif x.ok then out[#out + 1] = '+' .. x.ok .. '\r\n'
  else
    out[#out + 1] = '*' .. #x .. '\r\n'
    for i = 1, #x do encode(x[i], out) end
  end
  return out
end

local M = {}

-- One command of a connection -> its reply in RESP, and for how many ms it would block. Each changes everything or, gone back, nothing.
function M.execute(id, us, ...)
  local list, conn = { ... }, conns[id]
  now_us = us
  if history then op = {} end
  local name, result = string.upper(list[1]), nil
  if name == 'EXEC' then result = exec(conn)
  elseif conn.queue and name ~= 'DISCARD' and name ~= 'MULTI' then
    conn.queue[#conn.queue + 1] = list
    result = QUEUED
  else result = perform(conn, list) end
  if op and next(op) ~= nil then
    log[#log + 1] = op
    if #log > KEEP then table.remove(log, 1) end
  end
  op = nil
  if conn.silent then return '', 0 end
  if type(result) == 'table' and result.blocked then return '*-1\r\n', result.blocked end
  if name == 'EXEC' and result == false then return '*-1\r\n', 0 end
  return table.concat(encode(result, {})), 0
end

function M.keep_history(on_) history = on_ end
function M.connect(id) conns[id] = {} end
function M.disconnect(id) conns[id] = nil end
function M.set_oom(on_) oom = on_ end
function M.lose_functions() functions = {} end

-- The server ended and is there again: another run, without the last k operations (k < 0: without anything).
function M.restart(k, run)
  run_id, functions, oom = run, {}, false
  conns = {}
  if k < 0 then
    db, log = {}, {}
    return
  end
  for _ = 1, math.min(k, #log) do
    for key, old in pairs(table.remove(log)) do db[key] = old or nil end
  end
end

function M.reset()
  db, log, op, versions, functions, conns, run_id, oom = {}, {}, nil, {}, {}, {}, 'run-0', false
  expiring = {}
end

return M
