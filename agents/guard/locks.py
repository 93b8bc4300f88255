"""The order locks in Redis: their keys and values, and the only scripts that read and write them.

    order_trigger_lock:{order id}   claimed:{app id}:{incarnation}    before the order is emitted
                                    emitted:{app id}:{incarnation}    after the commit
                                    released                          by an operator's command

A token is `{app id}:{incarnation}`. The incarnation (32 hexadecimal digits) identifies a partition's state, so that a
state that was lost and created again has another token. Every script takes one MessagePack argument, because packing
thousands of separate arguments costs the client more time than the script takes. Texts in the argument are MessagePack
strings, because Redis cannot unpack MessagePack's binary type. A key whose value is not a string counts as claimed by
another token.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from streams.adapters.redis import Script

DATABASE: Final = 2
MOST_PER_CALL: Final = 2_000
"""Maximum number of orders per call; a call of this size occupies Redis for a few milliseconds."""

_KEY: Final = "order_trigger_lock:"
_CLAIMED, _EMITTED, _RELEASED = "claimed:", "emitted:", "released"

_VALUE_AT: Final = """\
-- Return the string at a key, false if the key is missing, true if it has another type; raise any other error.
local function value_at(key)
    local found = redis.pcall('GET', key)
    if type(found) ~= 'table' then return found end
    return string.find(found.err, 'WRONGTYPE', 1, true) ~= nil or redis.call('GET', key)
end
"""

CLAIM: Final = Script(f"""\
-- {{token, app id, retention, order ids, indexes of the ids denied before}} -> one letter of `Answer` per order id
{_VALUE_AT}local token, app, retention, ids, denied_positions = unpack(cmsgpack.unpack(ARGV[1]))
local mine, emitted_by_app = '{_CLAIMED}' .. token, '{_EMITTED}' .. app .. ':'
local denied, answers = {{}}, {{}}
for _, position in ipairs(denied_positions) do denied[position] = true end
for position, id in ipairs(ids) do
    local key = '{_KEY}' .. id
    local found = value_at(key)
    local answer
    if found == mine then answer = 'M'
    elseif found == '{_RELEASED}' or (not found and not denied[position]) then answer = 'A'
    elseif type(found) ~= 'string' then answer = 'H'
    elseif string.sub(found, 1, #emitted_by_app) == emitted_by_app then answer = 'O'
    elseif string.sub(found, 1, {len(_EMITTED)}) == '{_EMITTED}' then answer = 'E'
    else answer = 'H' end
    if answer == 'A' or answer == 'M' then redis.call('SET', key, mine, 'EX', retention) end
    answers[position] = answer
end
return table.concat(answers)
""")

MARK: Final = Script(f"""\
-- {{retention, {{{{token, order ids}}, ...}}}} -> skipped order ids, which another application had marked
{_VALUE_AT}local retention, marks = unpack(cmsgpack.unpack(ARGV[1]))
local foreign = {{}}
for _, mark in ipairs(marks) do
    local mine = '{_EMITTED}' .. mark[1]
    local emitted_by_app = string.match(mine, '^.*:')
    for _, id in ipairs(mark[2]) do
        local key = '{_KEY}' .. id
        local found = value_at(key)
        if type(found) == 'string' and string.sub(found, 1, {len(_EMITTED)}) == '{_EMITTED}' and
            string.sub(found, 1, #emitted_by_app) ~= emitted_by_app then
            foreign[#foreign + 1] = id
        else
            redis.call('SET', key, mine, 'EX', retention)
        end
    end
end
return foreign
""")

READ: Final = Script(f"""\
-- {{keys}} -> for each key its value ('' if missing or not a string) and its remaining seconds to live
{_VALUE_AT}local answers = {{}}
for _, key in ipairs(cmsgpack.unpack(ARGV[1])) do
    local found = value_at(key)
    answers[#answers + 1] = type(found) == 'string' and found or ''
    answers[#answers + 1] = redis.call('TTL', key)
end
return answers
""")

RELEASE: Final = Script(f"""\
-- {{token, retention, keys}} -> number of keys that were claimed by the token and are now released
{_VALUE_AT}local token, retention, keys = unpack(cmsgpack.unpack(ARGV[1]))
local count = 0
for _, key in ipairs(keys) do
    if value_at(key) == '{_CLAIMED}' .. token then
        count = count + 1
        redis.call('SET', key, '{_RELEASED}', 'EX', retention)
    end
end
return count
""")

FREE: Final = Script(f"""\
-- {{retention, key}} -> 1 if the lock was missing and is now released, 0 if it existed
{_VALUE_AT}local retention, key = unpack(cmsgpack.unpack(ARGV[1]))
if value_at(key) then return 0 end
redis.call('SET', key, '{_RELEASED}', 'EX', retention)
return 1
""")

ALL_KEYS: Final = f"{_KEY}*"


class Lock(NamedTuple):
    """Parsed value of a lock: `state` is `claimed`, `emitted` or `released`; a released lock has empty ids."""

    state: str
    app_id: str
    incarnation: str


def lock_key(order_id: str) -> str:
    """Return the Redis key of an order's lock."""
    return f"{_KEY}{order_id}"


def order_id_of(key: str) -> str:
    """Return the order id in the Redis key of a lock."""
    return key.removeprefix(_KEY)


def token_of(app_id: str, incarnation: str) -> str:
    """Return the token of an application, given the identifier (incarnation) of a partition's state."""
    return f"{app_id}:{incarnation}"


def app_of(token: str) -> str:
    """Return the application id in a token."""
    return token.rpartition(":")[0]


def parse_lock(value: bytes) -> Lock | None:
    """Parse the value of a lock; return None if its state is not claimed, emitted or released."""
    text = value.decode(errors="replace")
    if text == _RELEASED:
        return Lock(_RELEASED, "", "")
    state, _, token = text.partition(":")
    app_id, _, incarnation = token.rpartition(":")
    return Lock(state, app_id, incarnation) if f"{state}:" in (_CLAIMED, _EMITTED) and app_id else None
