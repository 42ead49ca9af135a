"""The daemon: its parts, their order, and the one place for clock, chance and identity."""
