"""Whose fault it is, where no real part makes the case: numbers, headers, and words without any secret."""

import pytest

from sidecar.core.secret import Secret
from sidecar.graph.blame import ERRORS, Way, blame_answer, blame_error
from sidecar.graph.proxy import parse_proxy

META = ("graph.facebook.com", 443)


def test_no_words_show_an_address_or_a_login() -> None:
    for error in (OSError("joe:pw@10.0.0.1"), ValueError("joe:pw"), TimeoutError("10.0.0.1"), EOFError("pw")):
        assert isinstance(error, ERRORS)
        for proxied in (True, False):
            for stood in (True, False):
                blame = blame_error(error, Way(proxied, proxied, META, stood))
                assert not {"joe", "pw", "10.0.0.1"} & set(blame.fault.words.replace(":", " ").split())


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (407, {}, "proxy login: user or password is wrong; correct them in the proxy's URL"),
        (403, {"x-squid-error": "ERR_ACCESS_DENIED 0"}, "proxy policy or path: it answered 403 itself; "),
        (503, {"proxy-status": 'squid.example; error="connection_refused"'}, "proxy policy or path: it answered 503"),
    ],
)
def test_an_answer_that_the_proxy_made_is_its_own_fault(status: int, headers: dict[str, str], words: str) -> None:
    blame = blame_answer(status, headers)
    assert blame
    assert blame.whose == "proxy"
    assert blame.fault.words.startswith(words)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (403, {}),
        (502, {"x-squid-error": "ERR_ZERO_SIZE_OBJECT 0"}),
        (503, {"proxy-status": "http_request_error; e_proxy=fb"}),
        (503, {"server": "squid"}),
    ],
)
def test_any_other_answer_is_metas(status: int, headers: dict[str, str]) -> None:
    assert blame_answer(status, headers) is None


def test_a_proxy_is_shown_as_host_and_port_and_its_login_is_decoded() -> None:
    proxy = parse_proxy(Secret("socks5h://us%40er:p%3A%2F%23%25w@[2001:db8::1]:1080"))
    assert (proxy.user, proxy.password, proxy.host) == ("us@er", "p:/#%w", "2001:db8::1")
    assert proxy.place == "[2001:db8::1]:1080"
    assert "us@er" not in repr(proxy)
    assert "p:/" not in repr(proxy)


@pytest.mark.parametrize("url", ["", "proxy", "http://proxy", "http://proxy:0", "http://proxy:port", "ftp://proxy:21"])
def test_what_is_no_proxy_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_proxy(Secret(url))
