"""Deliveries on their way: one courier for each lane, which never waits for another."""
