"""Nginx's journal: the truth about clicks and postbacks, followed through rotation."""
