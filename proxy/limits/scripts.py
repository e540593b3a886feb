"""The rule of the limits as Valkey carries it out: of a key and of its account, in one call and one slot."""

from proxy.limits.valkey import Script


def window_keys(user_id: int, key_id: int | None = None) -> list[str]:
    """Where Valkey keeps request log, token log, token sum and running requests: of a key, or of its account (None)."""
    whose = "account" if key_id is None else f"key {key_id}"
    return [f"hamiran:{{user {user_id}}}:{whose}:{what}" for what in ("requests", "tokens", "sum", "running")]


def read_log(user_id: int, key_id: int) -> str:
    """Where it keeps what a key has read of its account, in the same slot."""
    return f"hamiran:{{user {user_id}}}:key {key_id}:reads"


# KEYS: the windows of the key, then those of the account.
# ARGV: request, tokens, seconds that it may run, 1 if it is already counted and brings its tokens; then RPM, TPM and
# requests at once (0: any number) of the key, then of the account. A token entry is "<request>:<tokens>".
# Carried out twice (a reply can be lost, and a Cluster's client tries again), each script counts once.
# A command costs Valkey more than all that is written around it, so none is repeated that need not be: what keeps idle
# windows from lying about for ever (`keep`) is done when one begins, and then once in 55 seconds. Each lasts for three
# minutes from there, and so for at least one after each request.
ADMIT = Script(
    """
local call = redis.call
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local id, tokens, seconds, counted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local edge, entry = now - 60000, ARGV[1] .. ':' .. ARGV[2]
local function tidy(log, token_log, sum)
    call('ZREMRANGEBYSCORE', log, '-inf', edge)
    local gone = call('ZRANGEBYSCORE', token_log, '-inf', edge)
    if #gone > 0 then
        local sum_gone = 0
        for _, one in ipairs(gone) do sum_gone = sum_gone + tonumber(string.match(one, ':(%-?%d+)$')) end
        call('ZREMRANGEBYSCORE', token_log, '-inf', edge)
        return call('ZCARD', log), call('DECRBY', sum, sum_gone)
    end
    return call('ZCARD', log), tonumber(call('GET', sum) or '0')
end
local function wait_for(log, token_log, running, requests, used, rpm, tpm, max_running)
    if tokens > tpm then return -1 end
    local wait = 0
    if requests >= rpm and not counted then
        local first = call('ZRANGE', log, requests - rpm, requests - rpm, 'WITHSCORES')
        wait = tonumber(first[2]) + 60000 - now
    end
    local over, at = used + tokens - tpm, 0
    while over > 0 do
        local page = call('ZRANGE', token_log, at, at + 63, 'WITHSCORES')
        if #page == 0 then break end
        for i = 1, #page, 2 do
            over = over - tonumber(string.match(page[i], ':(%-?%d+)$'))
            if over <= 0 then wait = math.max(wait, tonumber(page[i + 1]) + 60000 - now); break end
        end
        at = at + 64
    end
    local busy = 0
    if wait == 0 and max_running > 0 and not counted then
        busy = call('ZCARD', running)
        if busy >= max_running then
            call('ZREMRANGEBYSCORE', running, '-inf', now)
            busy = call('ZCARD', running)
            if busy >= max_running then wait = 1000 end
        end
    end
    return wait, busy
end
local function reset(log)
    local oldest = call('ZRANGE', log, 0, 0, 'WITHSCORES')
    return oldest[2] and oldest[2] + 60000 - now or 0
end
local function keep(k)
    for i = k + 1, k + 3 do call('PEXPIRE', KEYS[i], 180000) end
    call('PEXPIRE', KEYS[k + 4], seconds * 1000 + 60000)
end
local wait, requests, used, busy = 0, {}, {}, {}
for i = 1, 2 do
    local k = i * 4 - 4
    requests[i], used[i] = tidy(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3])
end
local known
if counted then known = call('ZSCORE', KEYS[2], entry) else known = call('ZSCORE', KEYS[1], id) end
if known then return {0, requests[1], used[1], reset(KEYS[1]), reset(KEYS[2])} end
for i = 1, 2 do
    local k, a = i * 4 - 4, i * 3 + 1
    local needs
    needs, busy[i] = wait_for(KEYS[k + 1], KEYS[k + 2], KEYS[k + 4], requests[i], used[i],
        tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]))
    if needs < 0 or wait < 0 then wait = -1 else wait = math.max(wait, needs) end
end
for i = 1, 2 do
    local k, max_running = i * 4 - 4, tonumber(ARGV[i * 3 + 4])
    if wait == 0 then
        call('ZADD', KEYS[k + 2], now, entry)
        used[i] = call('INCRBY', KEYS[k + 3], tokens)
        if not counted then
            call('ZADD', KEYS[k + 1], now, id)
            requests[i] = requests[i] + 1
            if max_running > 0 then
                call('ZADD', KEYS[k + 4], now + seconds * 1000, id)
                if busy[i] == 0 then call('PEXPIRE', KEYS[k + 4], seconds * 1000 + 60000) end
            end
        end
    elseif counted then
        requests[i] = requests[i] - call('ZREM', KEYS[k + 1], id)
        call('ZREM', KEYS[k + 4], id)
    end
    if counted and (wait ~= 0 or entry ~= id .. ':0') then call('ZREM', KEYS[k + 2], id .. ':0') end
end
if wait == 0 and (requests[1] == 1 or requests[2] == 1 or call('PTTL', KEYS[3]) < 125000) then
    keep(0)
    keep(4)
end
return {wait, requests[1], used[1], reset(KEYS[1]), reset(KEYS[2])}
"""
)

# ARGV: request, its estimated tokens, its true tokens.
FINISH = Script(
    """
local call = redis.call
local id, estimate, tokens = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local guess, added = id .. ':' .. estimate, id .. ':' .. tokens
for k = 0, 4, 4 do
    call('ZREM', KEYS[k + 4], id)
    local score = estimate ~= tokens and call('ZSCORE', KEYS[k + 2], guess)
    if score and tonumber(score) > now - 60000 then
        call('ZADD', KEYS[k + 2], score, added)
        call('ZREM', KEYS[k + 2], guess)
        call('INCRBY', KEYS[k + 3], tokens - estimate)
    elseif tokens > estimate and not call('ZSCORE', KEYS[k + 2], added) then
        -- Beside the estimate, which leaves the window by itself.
        local more = tokens - estimate
        if call('ZADD', KEYS[k + 2], 'NX', now, id .. '+:' .. more) == 1 then
            call('INCRBY', KEYS[k + 3], more)
        end
        call('PEXPIRE', KEYS[k + 2], 180000)
        call('PEXPIRE', KEYS[k + 3], 180000)
    end
end
return 1
"""
)

# How full windows are; KEYS: those of any number of windows. What a window no longer holds may still lie in its logs
# until its next request tidies up.
NOW = Script(
    """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local edge, found = now - 60000, {}
for k = 0, #KEYS - 4, 4 do
    local used = tonumber(redis.call('GET', KEYS[k + 3]) or '0')
    for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[k + 2], '-inf', edge)) do
        used = used - tonumber(string.match(entry, ':(%-?%d+)$'))
    end
    table.insert(found, {redis.call('ZCOUNT', KEYS[k + 1], '(' .. edge, '+inf'), math.max(used, 0),
        redis.call('ZCOUNT', KEYS[k + 4], '(' .. now, '+inf')})
end
return found
"""
)
