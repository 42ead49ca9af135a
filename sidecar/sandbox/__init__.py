"""A strict stand-in for Meta's Conversions API; it judges by the published rules and by none of the sender's code."""
