"""YAML with places, secrets, and the value that comes of them."""
