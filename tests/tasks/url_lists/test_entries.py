"""What a line names, and which addresses it matches: small lists, exact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.url_lists.entries import BadLine, Entry, parse_line, path_segments
from tasks.url_lists.lists import UrlLists, public_suffixes


def entry(line: str, hosts_only: bool = False) -> Entry | BadLine:
    return parse_line(line.encode(), public_suffixes(), hosts_only=hosts_only)


def matches(line: str, url: str, hosts_only: bool = False) -> bool:
    lists = UrlLists.of_lines({"one": [f"http://{line}/" if hosts_only else line]})
    return lists.find(url) == "one"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://EXAMPLE.com:8080/any/path?q",
        "http://www.example.com/",
        "http://a.b.c.example.com/x",
        "http://user@example.com./",
        "http://ex%61mple.com/",
    ],
)
def test_a_domain_names_itself_and_what_is_below_it(url):
    for line in (
        "example.com",
        "Example.COM.",
        "http://example.com/",
        ".example.com",
        "*.example.com",
        "example.com # x",
    ):
        assert matches(line, url), line


@pytest.mark.parametrize(
    "url", ["http://notexample.com/", "http://example.com.org/", "http://com/", "http://example.org/example.com"]
)
def test_a_domain_names_nothing_else(url):
    assert not matches("example.com", url)


def test_a_listed_host_names_neither_its_parent_nor_its_siblings():
    assert matches("blog.example.com", "http://x.blog.example.com/")
    assert not matches("blog.example.com", "http://example.com/")
    assert not matches("blog.example.com", "http://shop.example.com/")


def test_a_listed_www_names_the_front_of_a_host_and_not_its_tenants():
    assert matches("www.example.com", "http://example.com/x")
    assert matches("www.example.com", "http://www.example.com/x")
    assert not matches("www.example.com", "http://tenant.example.com/x")
    assert entry("www.com") == Entry("www.com")  # a domain called www
    assert matches("www.com", "http://www.com/") and matches("www.com", "http://a.www.com/")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a/B",
        "https://www.example.com:81/a/b/",
        "http://example.com//a/./x/../b/c/d.html",
        "http://example.com/%61/b?x=1#y",
        "http://EXAMPLE.COM/A/b",
    ],
)
def test_an_address_names_itself_and_what_is_below_it(url):
    for line in ("example.com/a/b", "http://www.example.com/A/%62/"):
        assert matches(line, url), line


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "http://example.com/a", "http://example.com/a/bc", "http://sub.example.com/a/b"],
)
def test_an_address_names_nothing_else(url):
    assert not matches("example.com/a/b", url)


def test_an_address_with_a_query_names_exactly_that():
    assert matches("example.com/a?ID=7", "http://example.com/a/?id=7")
    assert not matches("example.com/a?id=7", "http://example.com/a?id=77")
    assert not matches("example.com/a?id=7", "http://example.com/a")
    assert not matches("example.com/a?id=7", "http://example.com/a/b?id=7")


def test_a_bare_host_in_a_file_of_addresses_names_that_host_alone():
    assert entry("example.com", hosts_only=True) == Entry("example.com/", 0)
    assert entry("example.com") == Entry("example.com")


def test_ip_addresses_name_themselves():
    assert matches("203.0.113.9", "http://3405803785/x")
    assert matches("[2001:db8::1]", "http://[2001:DB8:0::1]:8/x")
    assert not matches("113.9.0.1", "http://203.113.9.0.1/")
    assert matches("203.0.113.9/a", "http://203.0.113.9/a/b")


def test_other_scripts_are_one_with_their_ascii_form():
    assert matches("MÜNCHEN.de", "http://www.xn--mnchen-3ya.de/")
    assert matches("xn--mnchen-3ya.de", "http://münchen.de/")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "blank"),
        ("  \t", "blank"),
        ("# adult sites", "comment"),
        ("com", "public_suffix"),
        ("co.uk", "public_suffix"),
        ("http://com/", "public_suffix"),
        ("localhost", "bad_host"),
        ("0.0.0.0 example.com", "bad_host"),
        ("joe@example.com", "bad_host"),
        ("||example.com^", "bad_host"),
        ("exa mple.com", "bad_host"),
        ("example..com", "bad_host"),
        ("http://[broken", "bad_host"),
        ("a" * 300 + ".com", "bad_host"),
    ],
)
def test_a_bad_line_says_why(line, reason):
    assert entry(line) == BadLine(reason)


def test_bytes_that_are_no_text_are_a_bad_line():
    assert parse_line(b"caf\xe9.com", public_suffixes()) == BadLine("not_utf8")


def test_the_top_level_domains_for_adult_sites_may_be_listed():
    assert matches("xxx", "http://anything.xxx/")
    assert not matches("xxx", "http://xxx.example.com/")


@given(st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), min_size=2, max_size=5))
def test_the_quick_way_gives_what_the_slow_one_gives(labels):
    host = ".".join([*labels, "com"])
    assert entry(host) == entry(f"http://{host}/")


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_a_line_names_it_finds_itself(host, path):
    line = f"http://{host}.example.com/{path}"
    found = parse_line(line.encode("utf-8", "surrogatepass"), public_suffixes())
    if isinstance(found, Entry):
        assert UrlLists.of_lines({"one": [line]}).find(line) == "one"


def test_the_normal_form_of_a_path_is_stable():
    for path in ("/A%2fb/%C3%89/é/..//x%20y/", "/%zz/%", "/a+b;c=d/~e"):
        segments = path_segments(path)
        assert path_segments("/" + "/".join(segments)) == segments
