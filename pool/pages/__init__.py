"""The pages for miners: the status, a miner's own page, live numbers, charts."""
