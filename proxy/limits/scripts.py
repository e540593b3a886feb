"""The rule of the limits as Valkey carries it out: of a key and of its account, in one call and one slot."""

from proxy.limits.valkey import Script

UNSEEDED = -2  # in place of a wait: the day's counts of a window are not here


def _whose(key_id: int | None, model: str) -> str:
    whose = "account" if key_id is None else f"key {key_id}"
    return f"{whose} model {model}" if model else whose


def window_keys(user_id: int, key_id: int | None = None, model: str = "") -> list[str]:
    """Where Valkey keeps request log, token log, token sum and running requests: of a key, or of its account (None).

    Of all models, or of one.
    """
    whose = _whose(key_id, model)
    return [f"hamiran:{{user {user_id}}}:{whose}:{what}" for what in ("requests", "tokens", "sum", "running")]


def day_key(user_id: int, key_id: int | None = None, model: str = "") -> str:
    """Where it keeps what the same has used of the day."""
    return f"hamiran:{{user {user_id}}}:{_whose(key_id, model)}:day"


def day_logs(user_id: int) -> list[str]:
    """Where it keeps which requests are counted in a day and have not ended, and which have ended just now."""
    return [f"hamiran:{{user {user_id}}}:account:day:{what}" for what in ("open", "ended")]


def read_log(user_id: int, key_id: int) -> str:
    """Where it keeps what a key has read of its account, in the same slot."""
    return f"hamiran:{{user {user_id}}}:key {key_id}:reads"


# KEYS: the windows of the key, those of the account, and where the model has limits of its own, those of both for it;
# where anything is limited by the day, the day of each of them follows, then the day's two logs.
# ARGV: request, tokens, seconds that it may run, 1 if it is already counted and brings its tokens; then RPM, TPM and
# requests at once (0: any number) of each. By the day: how many milliseconds Tehran is ahead of UTC, requests and
# tokens per day of each (0: any number), and where it is known what the day's counts were: the day, the time by this
# clock when that was asked, and requests and tokens of each. A token entry is "<request>:<tokens>".
# What is refused by: ten times the number of the windows, and 1 RPM, 2 TPM, 3 at once, 4 requests and 5 tokens per day.
# Carried out twice (a reply can be lost, and a Cluster's client tries again), each script counts once.
# A command costs Valkey more than all that is written around it, so none is repeated that need not be: what keeps idle
# windows from lying about for ever (`keep`) is done when one begins, and then once in 55 seconds. Each lasts for three
# minutes from there, and so for at least one after each request.
# A day's counts are forgotten after ten idle minutes, or with all data: the records in PostgreSQL have them. `since` is
# when these were asked; what was open then is counted when it ends.
LAYOUT = """
local call = redis.call
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local n = #KEYS >= 16 and 4 or 2
local daily = #KEYS > 4 * n
local open, ended = KEYS[5 * n + 1], KEYS[5 * n + 2]
"""
ADMIT = Script(
    LAYOUT
    + """
local id, tokens, seconds, counted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local edge, entry = now - 60000, ARGV[1] .. ':' .. ARGV[2]
local requests, used, busy = {}, {}, {}
local day, day_left, day_requests, day_tokens = 0, 0, {}, {}
local D = 4 + 3 * n
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
local function read_day()
    local offset = tonumber(ARGV[D + 1])
    day = math.floor((now + offset) / 86400000)
    day_left = (day + 1) * 86400000 - offset - now
    local known = tonumber(ARGV[D + 2 * n + 2] or '')
    for i = 1, n do
        local hash, s = KEYS[4 * n + i], D + 2 * n + 2 + 2 * i
        local found = call('HMGET', hash, 'day', 'requests', 'tokens')
        if tonumber(found[1] or '') ~= day then
            if known ~= day then return false end
            found = {day, ARGV[s], ARGV[s + 1]}
            call('HSET', hash, 'day', day, 'requests', found[2], 'tokens', found[3], 'since', ARGV[D + 2 * n + 3])
            call('PEXPIRE', hash, 600000)
            call('ZREMRANGEBYSCORE', open, '-inf', now - 172800000)
        end
        day_requests[i], day_tokens[i] = tonumber(found[2]), tonumber(found[3])
    end
    return true
end
local function wait_for(i)
    local k, a, is_counted = i * 4 - 4, i * 3 + 1, counted and i <= 2
    local rpm, tpm, max_running = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
    if tokens > tpm then return -1, 2, 0 end
    local wait, kind = 0, 0
    if requests[i] >= rpm and not is_counted then
        local first = call('ZRANGE', KEYS[k + 1], requests[i] - rpm, requests[i] - rpm, 'WITHSCORES')
        wait, kind = tonumber(first[2]) + 60000 - now, 1
    end
    local over, at = used[i] + tokens - tpm, 0
    while over > 0 do
        local page = call('ZRANGE', KEYS[k + 2], at, at + 63, 'WITHSCORES')
        if #page == 0 then break end
        for j = 1, #page, 2 do
            over = over - tonumber(string.match(page[j], ':(%-?%d+)$'))
            if over <= 0 then
                local until_gone = tonumber(page[j + 1]) + 60000 - now
                if until_gone > wait then wait, kind = until_gone, 2 end
                break
            end
        end
        at = at + 64
    end
    if daily then
        local rpd, tpd = tonumber(ARGV[D + 2 * i]), tonumber(ARGV[D + 2 * i + 1])
        if tpd > 0 and tokens > tpd then return -1, 5, 0 end
        if rpd > 0 and day_requests[i] >= rpd and not is_counted and day_left > wait then wait, kind = day_left, 4 end
        if tpd > 0 and day_tokens[i] + tokens > tpd and day_left > wait then wait, kind = day_left, 5 end
    end
    local running = 0
    if wait == 0 and max_running > 0 and not is_counted then
        running = call('ZCARD', KEYS[k + 4])
        if running >= max_running then
            call('ZREMRANGEBYSCORE', KEYS[k + 4], '-inf', now)
            running = call('ZCARD', KEYS[k + 4])
            if running >= max_running then wait, kind = 1000, 3 end
        end
    end
    return wait, kind, running
end
local function reset(log)
    local oldest = call('ZRANGE', log, 0, 0, 'WITHSCORES')
    return oldest[2] and oldest[2] + 60000 - now or 0
end
local function keep(i)
    local k = i * 4 - 4
    for j = k + 1, k + 3 do call('PEXPIRE', KEYS[j], 180000) end
    call('PEXPIRE', KEYS[k + 4], seconds * 1000 + 60000)
    if daily then call('PEXPIRE', KEYS[4 * n + i], 600000); call('PEXPIRE', open, 172800000) end
end
local function reply(wait, refused_by)
    local told = {wait, requests[1], used[1], reset(KEYS[1]), reset(KEYS[2]), refused_by}
    if n == 4 then
        for _, one in ipairs({requests[3], used[3], reset(KEYS[9]), reset(KEYS[10])}) do table.insert(told, one) end
    end
    if daily then
        table.insert(told, day_left)
        for i = 1, n, 2 do table.insert(told, day_requests[i]); table.insert(told, day_tokens[i]) end
    end
    return told
end
for i = 1, n do
    local k = i * 4 - 4
    requests[i], used[i] = tidy(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3])
end
if daily and not read_day() then return {-2, now, day} end
local known
if counted then known = call('ZSCORE', KEYS[4 * n - 6], entry) else known = call('ZSCORE', KEYS[1], id) end
if known then return reply(0, 0) end
local wait, refused_by = 0, 0
for i = 1, n do
    local needs, kind
    needs, kind, busy[i] = wait_for(i)
    if wait >= 0 and (needs < 0 or needs > wait) then wait, refused_by = needs, i * 10 + kind end
end
for i = 1, n do
    local k, max_running, is_counted = i * 4 - 4, tonumber(ARGV[i * 3 + 4]), counted and i <= 2
    if wait == 0 then
        call('ZADD', KEYS[k + 2], now, entry)
        used[i] = call('INCRBY', KEYS[k + 3], tokens)
        if daily then day_tokens[i] = call('HINCRBY', KEYS[4 * n + i], 'tokens', tokens) end
        if not is_counted then
            call('ZADD', KEYS[k + 1], now, id)
            requests[i] = requests[i] + 1
            if daily then day_requests[i] = call('HINCRBY', KEYS[4 * n + i], 'requests', 1) end
            if max_running > 0 then
                call('ZADD', KEYS[k + 4], now + seconds * 1000, id)
                if busy[i] == 0 then call('PEXPIRE', KEYS[k + 4], seconds * 1000 + 60000) end
            end
        end
    elseif is_counted then
        requests[i] = requests[i] - call('ZREM', KEYS[k + 1], id)
        call('ZREM', KEYS[k + 4], id)
    end
    if is_counted and (wait ~= 0 or entry ~= id .. ':0') then call('ZREM', KEYS[k + 2], id .. ':0') end
end
if daily and counted then
    local at = tonumber(call('ZSCORE', open, id .. ':0') or '')
    if at then call('ZREM', open, id .. ':0') end
    for i = 1, 2 do
        local since = tonumber(call('HGET', KEYS[4 * n + i], 'since'))
        if wait ~= 0 and at and at >= since and at >= now + day_left - 86400000 then
            day_requests[i] = call('HINCRBY', KEYS[4 * n + i], 'requests', -1)
        end
    end
end
if daily and wait == 0 then call('ZADD', open, now, entry) end
if wait == 0 and (requests[1] == 1 or requests[2] == 1 or requests[n] == 1 or call('PTTL', KEYS[3]) < 125000) then
    for i = 1, n do keep(i) end
end
return reply(wait, refused_by)
"""
)

# KEYS as above. ARGV: request, its estimated tokens, its true tokens; by the day also how many milliseconds Tehran is
# ahead of UTC, and how many ago the request ended.
FINISH = Script(
    LAYOUT
    + """
local id, estimate, tokens = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local guess, added = id .. ':' .. estimate, id .. ':' .. tokens
for k = 0, 4 * n - 4, 4 do
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
if not daily then return 1 end
call('ZREMRANGEBYSCORE', ended, '-inf', now - 120000)
local is_first = call('ZADD', ended, 'NX', now, id) == 1
call('PEXPIRE', ended, 180000)
local at = tonumber(call('ZSCORE', open, guess) or '')
if at then call('ZREM', open, guess) end
if not is_first then return 1 end
local function day_of(moment) return math.floor((moment + tonumber(ARGV[4])) / 86400000) end
for i = 1, n do
    local hash = KEYS[4 * n + i]
    local found = call('HMGET', hash, 'day', 'since')
    local day, since = tonumber(found[1] or ''), tonumber(found[2] or '')
    if day == day_of(now) and (not at or day_of(at) == day) then
        if at and at >= since then
            call('HINCRBY', hash, 'tokens', tokens - estimate)
        elseif now - tonumber(ARGV[5]) > since then
            call('HINCRBY', hash, 'requests', 1)
            call('HINCRBY', hash, 'tokens', tokens)
        end
    end
end
return 1
"""
)

# What of the day is used; KEYS: the days of any number of windows; ARGV: as above. -1: it is not here.
TODAY = Script(
    """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local day, found = math.floor((now + tonumber(ARGV[1])) / 86400000), {}
for i, hash in ipairs(KEYS) do
    local one = redis.call('HMGET', hash, 'day', 'requests', 'tokens')
    found[i] = tonumber(one[1] or '') == day and {tonumber(one[2]), tonumber(one[3])} or {-1, -1}
end
return {now, day, found}
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
