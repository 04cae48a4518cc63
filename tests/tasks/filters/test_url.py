from tasks.filters.url import URL_SIGNALS, url_signals, url_tokens


def test_a_host_is_lower_cased_and_its_labels_counted():
    found = url_signals("HTTPS://User@WWW.Example.CO.uk:8443/A//b/c.html?q=1&r=2#x")
    assert found["url_host"] == "www.example.co.uk"
    assert (found["url_host_labels"], found["url_top_label"], found["url_host_is_ip"]) == (4, "uk", False)
    assert (found["url_path_depth"], found["url_query_chars"]) == (3, 7)


def test_an_address_has_no_top_label():
    for url in ("http://203.0.113.9/x", "http://[2001:db8::1]:80/"):
        found = url_signals(url)
        assert (found["url_host_is_ip"], found["url_top_label"], found["url_host_labels"]) == (True, None, 1)


def test_what_has_no_readable_host_has_no_signals():
    for url in (None, "", "not a url", "http://[broken/", "mailto:a@example.com"):
        assert url_signals(url) == dict.fromkeys(URL_SIGNALS)


def test_capitals_do_not_hide_a_word():
    assert url_tokens("http://Example.com/CASINO-Bonus_2/") == ["http", "example", "com", "casino", "bonus", "2"]
