"""The only memory: a contract, and SQLite that keeps it."""
