"""Everything durable: tables, state transitions, leases, migrations.

The other rooms meet only here. Each module below is one stretch of an object's way; every
function takes the time as an argument and runs in one transaction of its own, so a caller that
dies between two calls leaves a state another process can pick up. `docs/states.md` draws it.
"""
