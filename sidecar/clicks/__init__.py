"""Whose click it is: from the store, the Admin API, and what is known of its campaign and place."""
