"""Which addresses may be asked, and which get the token."""

import logging

import pytest

from atlas_pipeline.repositories.hub.addresses import (
    joined,
    keep_addresses_out_of_logs,
    origin_of,
    redirect_flaw,
)
from atlas_pipeline.repositories.hub.requests import HubRequests
from atlas_pipeline.repositories.hub.traffic import TrafficMeter
from atlas_pipeline.repositories.hub.waiting import RetryPolicy, Waiting, asked_wait_s

HUB = "https://hub.example"


@pytest.mark.parametrize(
    ("url", "target", "words"),
    [
        (HUB, "https://store.example/x?sig=1", None),
        (HUB, "http://store.example/x", "open one"),
        ("http://hub.example", "https://store.example/x", None),
        (HUB, "https://127.0.0.1/x", "this machine"),
        (HUB, "https://127.1.2.3:8443/x", "this machine"),
        (HUB, "https://[::1]/x", "this machine"),
        (HUB, "https://[::ffff:127.0.0.1]/x", "this machine"),
        (HUB, "https://0.0.0.0/x", "this machine"),
        (HUB, "https://localhost/x", "this machine"),
        (HUB, "https://a.localhost./x", "this machine"),
        (HUB, "https://169.254.169.254/latest/meta-data", "this machine"),
        (HUB, "https://10.0.0.5/store", None),
        (HUB, "https://user@store.example/x", "no web address"),
        (HUB, "file:///etc/passwd", "no web address"),
        (HUB, "gopher://store.example/x", "no web address"),
        (HUB, "https://store.example:99999/x", "no web address"),
        (HUB, "", "no web address"),
    ],
)
def test_redirects_that_are_not_followed(url: str, target: str, words: str | None) -> None:
    flaw = redirect_flaw(url, target, endpoint=origin_of(url))
    assert (flaw is None) if words is None else (flaw is not None and words in flaw)
    if words == "this machine":
        local = ("http", "localhost", 1)
        assert redirect_flaw(url, target, endpoint=local) is None, "a hub on this machine may"


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("https://hub.example/a", True),
        ("https://HUB.example:443/a", True),
        ("http://hub.example/a", False),
        ("https://hub.example:8443/a", False),
        ("https://hub.example.evil.example/a", False),
        ("https://evil.example/https://hub.example", False),
        ("https://hub.example@evil.example/", False),
        ("https://evil.example\\@hub.example/", False),
        ("https://evil.example#@hub.example/", False),
        ("//hub.example", False),
        ("", False),
    ],
)
def test_only_the_endpoint_gets_the_token(url: str, is_own: bool) -> None:
    requests = HubRequests(HUB, token=False, meter=TrafficMeter(), waiting=Waiting(RetryPolicy()))
    assert requests.is_own(url) == is_own
    assert requests.is_own(joined(f"{HUB}/a/resolve/b", url)) or not is_own


def test_relative_redirects() -> None:
    assert joined("https://hub.example/a/b?c=d", "/e?f=g") == "https://hub.example/e?f=g"
    assert joined("https://hub.example/a/b", "c") == "https://hub.example/a/c"
    assert joined("https://hub.example/a", "//store.example/x") == "https://store.example/x"
    assert joined("https://hub.example/a", "https://[zz]/") == ""


def test_log_lines_keep_their_words_and_lose_signatures(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keep_addresses_out_of_logs()
    keep_addresses_out_of_logs()
    logging.getLogger("httpx2").info('GET %s "%s"', "https://store.example/x?Signature=abc&Key=d", "HTTP/1.1 206")
    logging.getLogger("httpcore2.http11").debug("complete return_value=[(b'Location', b'https://x/y?Signature=abc')]")
    logging.getLogger("huggingface_hub.utils._http").warning("thrown while requesting GET https://x/y?Signature=abc")
    assert "Signature" not in caplog.text
    assert 'GET https://store.example/x?… "HTTP/1.1 206"' in caplog.text
    assert "thrown while requesting GET https://x/y?…" in caplog.text


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"ratelimit": '"resolvers";r=0;t=12'}, 12.0),
        (429, {"ratelimit": '"resolvers";r=5;t=12', "retry-after": "3"}, 3.0),
        (503, {"ratelimit": '"resolvers";r=0;t=12'}, None),
        (503, {"retry-after": " 3 "}, 3.0),
        (503, {"retry-after": "-3"}, None),
        (503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        (503, {"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        (503, {"retry-after": "9" * 5000}, float("inf")),
        (503, {"retry-after": "\u0663"}, None),
        (429, {"ratelimit": "q=1" * 50_000}, None),
        (500, {}, None),
    ],
)
def test_waits_that_are_asked_for(status: int, headers: dict[str, str], wait: float | None) -> None:
    assert asked_wait_s(status, headers) == wait


def test_a_wait_of_ages() -> None:
    assert (asked_wait_s(429, {"ratelimit": '"x";r=0;t=' + "9" * 5000}) or 0) > 1e100
