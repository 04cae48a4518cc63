import pytest

from tasks.filters.url import (
    SIGNALS,
    UrlWords,
    builtin_words,
    split_url,
    url_signals,
    url_tokens,
    url_verdict,
    word_hits,
)
from tasks.url_lists.lists import UrlLists


def test_a_host_is_lower_cased_and_its_labels_counted():
    found = url_signals("HTTPS://User@WWW.Example.CO.uk:8443/A//b/c.html?q=1&r=2#x")
    assert found["url_host"] == "www.example.co.uk"
    assert (found["url_host_labels"], found["url_top_label"], found["url_host_is_ip"]) == (4, "uk", False)
    assert (found["url_path_depth"], found["url_query_chars"]) == (3, 7)
    assert (found["url_site"], found["url_subdomain"]) == ("example.co.uk", "www")


@pytest.mark.parametrize(
    ("url", "site", "subdomain"),
    [
        ("http://example.co.uk/", "example.co.uk", ""),
        ("http://a.b.example.com/", "example.com", "a.b"),
        ("http://co.uk/", "co.uk", ""),
        ("http://203.0.113.9/", "203.0.113.9", ""),
        ("http://localhost/", "localhost", ""),
    ],
)
def test_the_site_is_the_registered_domain(url, site, subdomain):
    found = url_signals(url)
    assert (found["url_site"], found["url_subdomain"]) == (site, subdomain)


def test_an_address_has_no_top_label():
    for url in ("http://203.0.113.9/x", "http://[2001:db8::1]:80/"):
        found = url_signals(url)
        assert (found["url_host_is_ip"], found["url_top_label"], found["url_host_labels"]) == (True, None, 1)


@pytest.mark.parametrize("host", ["203.0.113.9", "0xCB007109", "3405803785", "0313.0.0161.011", "203.0.28937"])
def test_every_way_to_write_an_ip_address_is_one(host):
    assert split_url(f"http://{host}:81/x") == ("203.0.113.9", True, "/x", "")


def test_numbers_that_are_no_address_are_a_name():
    assert split_url("http://256.0.0.1/") == ("256.0.0.1", False, "/", "")
    assert split_url("http://1.2.3.4.5/") == ("1.2.3.4.5", False, "/", "")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://MÜNCHEN.de./", "xn--mnchen-3ya.de"),
        ("http://xn--mnchen-3ya.DE/", "xn--mnchen-3ya.de"),
        ("http://stra%C3%9Fe.de/", "xn--strae-oqa.de"),
        ("http://例え。jp/", "xn--r8jz45g.jp"),
        ("http://💩.la/", "xn--ls8h.la"),  # no registrable name under IDNA 2008, but it is served
        ("http://ex%61mple.com/", "example.com"),
        ("http://user:pass@example.com:99/", "example.com"),
        ("  http://example.com.  ", "example.com"),
        ("http://[2001:DB8:0:0::1]/", "2001:db8::1"),
    ],
)
def test_a_host_has_one_form_however_it_is_written(url, host):
    assert split_url(url).host == host


def test_what_has_no_readable_host_has_no_signals():
    for url in (None, "", "not a url", "http://[broken/", "mailto:a@example.com", "http://./", "http://%20/"):
        assert url_signals(url) == dict.fromkeys(field.name for field in SIGNALS)


def test_signals_are_the_declared_ones_in_order():
    assert list(url_signals("http://example.com/")) == [field.name for field in SIGNALS]


def test_capitals_and_percent_encoding_do_not_hide_a_word():
    assert url_tokens("http://Example.com/CASINO-Bonus_2/") == ["http", "example", "com", "casino", "bonus", "2"]
    assert url_tokens("http://example.com/a%20%43ASINO") == ["http", "example", "com", "a", "casino"]


def test_one_hard_word_is_enough_and_two_different_soft_ones():
    assert url_verdict("http://example.com/free/PORN/1") == ("url_hard_word", "porn")
    assert url_verdict("http://example.com/casino/casino.html") is None
    assert url_verdict("http://example.com/Casino/Poker.html") == ("url_soft_words", "casino, poker")


def test_hyphens_do_not_hide_a_subword():
    assert url_verdict("http://example.com/on-line.casino/") == ("url_subword", "onlinecasino")


@pytest.mark.parametrize(
    "url",
    [
        "https://www.essex.ac.uk/campus/sexchange-of-views",
        "https://example.com/olives-extra-virgin",
        "https://example.com/panama/canals-extension",
        "https://www.pornic.fr/tourisme",
        "https://man.example.org/ssh-keygen.1.html",
        "https://example.com/super-bowl-xxx-video",
        "https://example.com/book-a-time-slot-online-booking",
        "https://example.com/health/sex-and-sexual-health",
        "https://example.com/games/canasta/assassin/cocktail/scunthorpe",
        "https://example.com/gay-lesbian-trans-teens",
        "https://example.com/specialist/socialist/analysis",
        "https://www.cumbria.gov.uk/grapes/therapist",
    ],
)
def test_honest_addresses_pass(url):
    assert url_verdict(url) is None


def test_hits_are_counted_once_each():
    found = url_signals("http://porn.example.com/porn/PORN/nude-naked-nude/free-porn/")
    assert (found["url_hard_words"], found["url_soft_words"], found["url_subwords"]) == (1, 2, 1)


def test_words_are_read_by_section_and_refused_when_they_could_never_match():
    words = UrlWords.parse("# remark\n[hard]\none\n\n[soft]\ntwo\n[subword]\nthree\n")
    assert words == UrlWords(frozenset({"one"}), frozenset({"two"}), ("three",))
    assert word_hits("http://x.com/one-thr-ee", words) == (["one"], [], ["three"])
    for bad in ("[hard]\nOne", "[hard]\ntwo words", "[other]\nword", "word", "[soft]\nwell-known"):
        with pytest.raises(ValueError, match="lower-case"):
            UrlWords.parse(bad)


def test_the_words_are_few_and_in_one_section_each():
    words = builtin_words()
    assert not words.hard & words.soft
    assert 50 < len(words.hard | words.soft) + len(words.subwords) < 250
    assert not [word for word in words.subwords if len(word) < 6 or word.startswith("sex")]


def test_lists_are_asked_before_the_words_and_named():
    lists = UrlLists.of_lines({"mine": ["example.com"]})
    other = UrlLists.of_lines({"other": ["example.com", "example.net"]})
    assert url_verdict("http://a.example.com/porn", lists, other) == ("url_list", "mine: example.com")
    assert url_verdict("http://example.net/porn", lists, other) == ("url_list", "other: example.net")
    assert url_verdict("http://example.org/porn", lists, use_words=False) is None
    assert url_signals("http://a.example.com/", lists)["url_list"] == "mine"
    assert url_signals("http://example.org/", lists)["url_list"] is None


def test_damaged_addresses_have_a_verdict_too():
    for url in ("http://[x/porn", "", "\ud800", "http://\ud800.com/\udfff", "http://a..b/", "http://%ff/", "//"):
        url_verdict(url, UrlLists.of_lines({"a": ["example.com/x"]}))
        url_signals(url)


def test_a_host_that_no_name_can_be_is_percent_encoded():
    host = "".join(chr(0x4E00 + k % 20_000) for k in range(60_000))
    parts = split_url(f"http://{host}.example/a")
    assert parts is not None and parts.host.startswith("%E4%B8%80") and parts.host.endswith(".example")
    assert split_url(f"http://{'é' * 80}.example/").host.startswith("xn--")
