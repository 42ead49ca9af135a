"""What can be wrong with a text once its secrets are read. The words never show it; they are empty when it is well."""

import re
from urllib.parse import urlsplit

_URL = re.compile(r"https?://[^\s/]+\S*")
_NO_PROXY = "no proxy URL; write scheme://user:password@host:port"
_BLANK = re.compile(r"\s")
_NO_KEY = re.compile(r"[/?#\s]")
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h", "socks4")


def proxy_fault(url: str) -> str:
    """What is wrong with a proxy's URL, without the URL: it may hold a password."""
    if not url:
        return "the proxy is empty; write null for a direct way"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return _NO_PROXY
    if _BLANK.search(url):
        return _NO_PROXY
    if parts.scheme not in _PROXY_SCHEMES:
        return f"unknown proxy scheme; write scheme://user:password@host:port with {', '.join(_PROXY_SCHEMES)}"
    return "" if parts.hostname and port else "a proxy needs host and port: scheme://host:port"


def token_fault(token: str) -> str:
    """What is wrong with a token that is there."""
    return "no token: there is a blank or a second line in it" if _BLANK.search(token) else ""


def url_fault(url: str) -> str:
    """What is wrong with the address of an Admin API."""
    return "" if _URL.fullmatch(url) else "no URL; write https://tracker.example.com"


def postback_key_fault(key: str) -> str:
    """What is wrong with a postback key."""
    if not key:
        return "the key is empty"
    return "the key is only the part before /postback, such as 2a76c2a" if _NO_KEY.search(key) else ""


def key_fault(key: str) -> str:
    """What is wrong with the key of an Admin API."""
    return "" if key else "the key is empty"
