-- rate.lua - what clients spent against their rate limits, over all gateways: each limit is a debt that time pays off (GCRA), one key
-- each that Redis forgets when it is paid.

local function rate(keys, argv) -- cap in µs; then name and µs to add (or, below 0, to take back), … -> µs of debt each
  local now, cap, debts = now_us(), tonumber(argv[1]), {}
  for i = 2, #argv, 2 do
    local key = keys[1] .. ':rate:' .. argv[i]
    local till = math.max(tonumber(redis.call('GET', key) or '0'), now) + tonumber(argv[i + 1])
    local debt = math.max(0, math.min(till - now, cap))
    if debt > 0 then
      redis.call('SET', key, num(now + debt), 'PX', num(math.ceil(debt / 1000)))
    else
      redis.call('DEL', key)
    end
    debts[#debts + 1] = debt
  end
  return debts
end

register('rate', rate)
