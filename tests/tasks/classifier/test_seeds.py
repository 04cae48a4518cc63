import pytest
from pydantic import ValidationError

from tasks.classifier.seeds import AMBIGUOUS, DOMAINS, DomainSeeds, built_in_seeds, seed_of, seeds_digest
from tasks.classifier.signs import signs_of
from tests.tasks.filters.prose import PROSE

RULES = built_in_seeds()
PYTHON = "def area(radius):\n    return 3.14 * radius ** 2\n\n>>> area(2)\n12.56\nfor x in range(3):\n    print(x);\n"
TEX = r"Let \(f\) be such that \[ \int_0^1 f(x) \, dx \leq \sum_{k} \frac{1}{k^2} = \alpha \] holds."
NOVEL = "CHAPTER I\n\n" + PROSE + "\n\nChapter 2. The letter\n\n" + PROSE
POSTS = "".join(f"Posted by ann\nJoined: May 2007\nI cannot sail in winter, number {k}.\n" for k in range(4))


def test_the_built_in_rules_seed_every_domain_but_multilingual() -> None:
    assert set(RULES) == set(DOMAINS) - {"multilingual"}
    assert list(seeds_digest()) == ["seeds.yaml"]


@pytest.mark.parametrize(
    ("url", "domain", "why"),
    [
        ("https://en.wikipedia.org/wiki/Ferry", "general", "hosts: wikipedia.org"),
        ("https://arxiv.org/abs/1", "math", "hosts: arxiv.org"),
        ("https://math.stackexchange.com/q/1", "math", "hosts: math.stackexchange.com"),  # the longer host
        ("https://cooking.stackexchange.com/q/1", "forums", "hosts: stackexchange.com"),
        ("https://x.example/javadoc/Foo.html", "code", "path_segments: javadoc"),
        ("https://x.example/text/chapter-4-1-2", "books", "path_pattern"),
        ("http://www.example.com/2012/01/17/a.html", "news", "path_pattern"),
        ("http://FORUM.example.com/x", "forums", "host_labels: forum"),
        ("http://x.example/viewtopic.php?t=5", "forums", "path_segments: viewtopic"),
        ("http://notreuters.com/x", "general", "no sign of another domain"),
        ("http://[bad/x", "general", "no sign of another domain"),
        (None, "general", "no sign of another domain"),
    ],
)
def test_an_address_tells_the_domain(url: str | None, domain: str, why: str) -> None:
    assert seed_of(url, PROSE, RULES) == (domain, why)


@pytest.mark.parametrize(("text", "domain"), [(PYTHON, "code"), (TEX, "math"), (NOVEL, "books"), (POSTS, "forums")])
def test_a_text_tells_the_domain_where_the_address_does_not(text: str, domain: str) -> None:
    found = seed_of("http://x.example/", text, RULES)
    assert found is not None and found.domain == domain and found.why.startswith("signs: ")
    assert seed_of("https://reuters.com/x", text, RULES).domain == "news"  # the address outweighs the text


def test_what_two_domains_claim_or_has_a_trace_of_one_seeds_nothing() -> None:
    both = seed_of("http://news.example.com/forum/x", PROSE, RULES)
    assert both is not None and both.domain == AMBIGUOUS
    assert seed_of(None, PROSE + "\n>>> 1 + 1\n", RULES) is None  # one line of code in seven


def test_windows_paths_and_prices_are_no_mathematics() -> None:
    signs = signs_of("C:\\Windows\\System32\\mu\\new costs $5 to $10 in \\\\server\\inbox\n")
    assert signs["tex_per_kchar"] < 20
    assert signs_of("C:\\Windows\\System32\\network")["tex_per_kchar"] == 0
    assert signs_of("")["code_line_fraction"] == 0


def test_prose_shows_no_signs() -> None:
    assert not any(signs_of(PROSE).values())


@pytest.mark.parametrize("bad", [{"signs": {"tex": 1.0}}, {"path_pattern": "("}, {"host": ["x"]}])
def test_malformed_rules_are_refused(bad: dict) -> None:
    with pytest.raises(ValidationError):
        DomainSeeds.model_validate(bad)
