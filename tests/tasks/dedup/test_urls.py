import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dedup.urls import canonical_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://Example.ORG", "example.org/"),
        ("https://www.example.org/", "example.org/"),
        ("HTTPS://user:pw@example.org:443/a", "example.org/a"),
        ("http://example.org:8080/a/", "example.org:8080/a"),
        ("http://example.org/a/./b/../c", "example.org/a/c"),
        ("http://example.org//a///b", "example.org/a/b"),
        ("http://example.org/docs/index.html", "example.org/docs"),
        ("http://example.org/%7euser/%c3%a9", "example.org/~user/%C3%A9"),
        ("http://example.org/é", "example.org/%C3%A9"),
        ("http://example.org/a%2Fb", "example.org/a%2Fb"),
        ("http://example.org/a?b=2&a=1", "example.org/a?a=1&b=2"),
        ("http://example.org/a?utm_source=x&UTM_Medium=y&id=3&fbclid=z", "example.org/a?id=3"),
        ("http://example.org/a?q=one+two", "example.org/a?q=one%20two"),
        ("http://example.org/a?q=1%2B1", "example.org/a?q=1%2B1"),
        ("http://example.org/a;jsessionid=1A2B?x=1", "example.org/a?x=1"),
        ("http://example.org/a#section", "example.org/a"),
        ("http://bücher.example/a", "xn--bcher-kva.example/a"),
        ("http://www.com/", "www.com/"),
        ("  http://example.org/a \n", "example.org/a"),
        ("http://[::1", "http://[::1"),
        ("http://example.org:port/", "http://example.org:port/"),
        ("not a url", "not a url"),
        ("", ""),
    ],
)
def test_canonical_form(url: str, expected: str) -> None:
    assert canonical_url(url) == expected


def test_versions_and_queries_that_select_a_page_stay_apart() -> None:
    pages = [
        "http://docs.sample/1.0/guide.html",
        "http://docs.sample/2.0/guide.html",
        "http://docs.sample/2.0/guide.html?page=2",
        "http://docs.sample/2.0/Guide.html",
    ]
    assert len({canonical_url(page) for page in pages}) == len(pages)


@given(st.text(max_size=60), st.text(max_size=30), st.text(max_size=30))
def test_any_string_has_a_stable_canonical_form(host: str, path: str, query: str) -> None:
    once = canonical_url(f"http://{host}/{path}?{query}")
    assert canonical_url(f"http://{host}/{path}?{query}") == once
    canonical_url(host + path + query)


def test_a_host_that_no_name_can_be_is_percent_encoded() -> None:
    host = "".join(chr(0x4E00 + k % 20_000) for k in range(60_000))
    assert canonical_url(f"http://{host}.example/a").startswith("%E4%B8%80")
