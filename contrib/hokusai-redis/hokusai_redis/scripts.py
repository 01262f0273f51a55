"""The Lua scripts: each changes what belongs together in one step on the server.

A lease is a hash with the token of its holder (``t``) and the time of the server until which it is held (``u``, in
milliseconds). It stays for a while after that time, so that a holder that was paused, and whose lease no one has taken,
may still store its answer. It is deleted with its end, and replaced when another takes it: an answer is stored only if
the token is the one that is there.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DROP", "FIND_SECRET", "LEASE", "STORE", "TEND"]

#: Return the secret at KEYS[1]; where there is none that can be used, the new one in ARGV[1] becomes it.
FIND_SECRET: Final = """
if redis.call('TYPE', KEYS[1]).ok == 'string' then
  local found = redis.call('GET', KEYS[1])
  if #found == #ARGV[1] then return found end
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
"""  # noqa: S105  # a script

#: Store ARGV[1] at KEYS[1], for ARGV[2] milliseconds unless that is 0. Return 1. Return another secret than ARGV[3]
#: where KEYS[2] holds one. With a token in ARGV[4], return 0 unless the lease at KEYS[3] has it, and end that lease.
STORE: Final = """
if ARGV[4] ~= '' and redis.pcall('HGET', KEYS[3], 't') ~= ARGV[4] then return 0 end
local secret = redis.pcall('GET', KEYS[2])
if type(secret) ~= 'string' then
  redis.call('SET', KEYS[2], ARGV[3])
elseif secret ~= ARGV[3] then
  return secret
end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if ARGV[4] ~= '' then redis.call('DEL', KEYS[3]) end
return 1
"""

#: Delete KEYS[1] if it still holds ARGV[1].
DROP: Final = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

#: Take the lease at KEYS[1] with the token ARGV[1] for ARGV[2] milliseconds; the hash stays for ARGV[3] milliseconds.
#: Return the token of who holds it then.
LEASE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  local found = redis.call('HMGET', KEYS[1], 't', 'u')
  if found[1] and found[2] and (tonumber(found[2]) or 0) > now then return found[1] end
else
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 't', ARGV[1], 'u', now + ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ARGV[1]
"""

#: Do ARGV[1] with the leases in KEYS, whose tokens begin at ARGV[4]: ``renew`` them for ARGV[2] milliseconds (the
#: hashes stay for ARGV[3]), ``end`` them, or ``look`` at them. Return for each whether its token holds it now.
TEND: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = {}
for i, key in ipairs(KEYS) do
  local found = redis.pcall('HMGET', key, 't', 'u')
  held[i] = 0
  if found[1] == ARGV[3 + i] then
    if ARGV[1] == 'renew' then
      redis.call('HSET', key, 'u', now + ARGV[2])
      redis.call('PEXPIRE', key, ARGV[3])
      held[i] = 1
    elseif ARGV[1] == 'end' then
      redis.call('DEL', key)
    elseif (tonumber(found[2]) or 0) > now then
      held[i] = 1
    end
  end
end
return held
"""
