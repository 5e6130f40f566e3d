"""What is owed: shares cut into slices, the PPLNS split, the double-entry journal, the life of a block.

Pure data and functions: the database is where results are kept, not where they are thought out. All
amounts are integer satoshis, all work is integer hashes (invariant 2).
"""
