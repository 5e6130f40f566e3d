"""Who may mine: identity numbers, licences, miners, payout addresses and the dated rules of law.

Pure: no clock, no database, no socket. Time comes in as unix microseconds; what the law says on a day
comes from `configs/rules.toml`, never from a constant in code (invariant 8).
"""
