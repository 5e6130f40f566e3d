"""The mining wing: Stratum V1 towards the ASIC. Jobs, shares and difficulty; nothing of money or law."""
