import pytest

from tasks.filters.licence import SIGNALS, signals


@pytest.mark.parametrize(
    ("url", "kind", "version"),
    [
        ("https://creativecommons.org/licenses/by-sa/4.0/", "by-sa", "4.0"),
        ("http://www.creativecommons.org/licenses/by/2.5/es/deed.en", "by", "2.5"),
        ("//creativecommons.org/licenses/by-nc-nd/3.0", "by-nc-nd", "3.0"),
        ("HTTPS://CreativeCommons.org/licenses/BY-NC/4.0/deed.de", "by-nc", "4.0"),
        ("http://creativecommons.org/licenses/by-nd-nc/1.0/", "by-nc-nd", "1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "zero", "1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "mark", "1.0"),
        ("http://creativecommons.org/licenses/publicdomain/", "mark", None),
        ("http://creativecommons.org/licenses/sampling+/1.0/", "sampling+", "1.0"),
        ("https://creativecommons.org/licenses/by-sa", "by-sa", None),
        ("https://creativecommons.org/", None, None),
        ("https://example.org/?u=https://creativecommons.org/licenses/by/4.0/", None, None),
        ("https://creativecommons.org.example.org/licenses/by/4.0/", None, None),
        ("https://www.gnu.org/licenses/gpl-3.0.html", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_type_of_a_licence_from_its_address(url, kind, version):
    found = signals(url)
    assert list(found) == [field.name for field in SIGNALS]
    assert (found["cc_licence"], found["cc_version"]) == (kind, version)
