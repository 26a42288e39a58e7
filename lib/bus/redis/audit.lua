-- audit.lua - what operators did, as a chain: each line carries the SHA-256 of the one before, so that none can be changed, removed or put
-- in between unnoticed. The hash is computed here, in the same step as the action: no line without the action, no action without the
-- line. audit.c checks it with another implementation.
--
-- A line's hash is over its fields in order, each name and value as <length>:<bytes>, all but the hash itself. Beside the stream:
-- audith (number and hash of the newest line).

local AUDIT_KEEP = '100000'
local AUDIT_ZERO = '0000000000000000000000000000000000000000000000000000000000000000'

local SHA256 = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
  0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
  0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
  0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
  0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
  0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2 }

local function sha256(text)
  local band, bnot, bxor, ror, rshift = bit.band, bit.bnot, bit.bxor, bit.ror, bit.rshift
  local h = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 }
  local bits, size = #text * 8, ''
  for _ = 1, 8 do
    size = string.char(bits % 256) .. size
    bits = math.floor(bits / 256)
  end
  text = text .. '\128' .. string.rep('\0', (55 - #text) % 64) .. size
  for at = 1, #text, 64 do
    local w = {}
    for i = 0, 15 do
      local b1, b2, b3, b4 = string.byte(text, at + 4 * i, at + 4 * i + 3)
      w[i + 1] = ((b1 * 256 + b2) * 256 + b3) * 256 + b4
    end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      w[i] = bit.tobit(w[i - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + w[i - 7] + bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, k = unpack(h)
    for i = 1, 64 do
      local t1 = bit.tobit(k + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + SHA256[i] + w[i])
      local t2 = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
      k, g, f, e, d, c, b, a = g, f, e, bit.tobit(d + t1), c, b, a, bit.tobit(t1 + t2)
    end
    for i, v in ipairs({ a, b, c, d, e, f, g, k }) do h[i] = bit.tobit(h[i] + v) end
  end
  for i = 1, 8 do h[i] = bit.tohex(h[i]) end
  return table.concat(h)
end

-- Words are names and values in turn, all texts.
local function audit(a, ...)
  local key = a .. ':audith'
  local head = redis.call('HMGET', key, 'n', 'hash')
  local n = num(tonumber(head[1] or '0') + 1)
  local line, text = { 'n', n, 'at', num(now_ms()), 'prev', head[2] or AUDIT_ZERO, ... }, {}
  for i, word in ipairs(line) do text[i] = #word .. ':' .. word end
  local hash = sha256(table.concat(text))
  line[#line + 1] = 'hash'
  line[#line + 1] = hash
  redis.call('XADD', a .. ':audit', 'MAXLEN', AUDIT_KEEP, '*', unpack(line))
  redis.call('HSET', key, 'n', n, 'hash', hash)
  return { n, hash }
end

register('audit', function(keys, argv) return audit(keys[1], unpack(argv)) end) -- name, value, … -> its number and hash
