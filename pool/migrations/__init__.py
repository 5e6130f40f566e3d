"""The history of the database schema, for Alembic; `pool.database.migrate` runs it.

A migration that was released is never edited: what follows is a new file. It states its tables itself and
does not import `pool.database`, so that it builds the same schema for ever.
"""
