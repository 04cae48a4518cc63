"""READMEs and licences become blocks."""

from tasks.sample_crawl.blocks import Code, Heading, Items, Paragraph, Table
from tasks.sample_crawl.markdown import parse, parse_plain


def test_badges_and_html_are_dropped() -> None:
    text = "# Tool\n\n[![build](https://x/y.svg)](https://x)\n\n<p align='center'>\n\nIt *works*.\n"
    assert parse(text) == [Heading("Tool", 1), Paragraph("It *works*.")]


def test_blocks_of_a_readme() -> None:
    text = (
        "Title\n=====\n\n- one\n  more\n- two\n\n```sh\npip install tool\n```\n\n| a | b |\n|---|---|\n"
        "| 1 | 2 |\n\n    indented = 1\n"
    )
    assert parse(text) == [
        Heading("Title", 1),
        Items(((Paragraph("one more"),), (Paragraph("two"),))),
        Code("pip install tool"),
        Table((("a", "b"), ("1", "2"))),
        Code("indented = 1"),
    ]


def test_licence_text_keeps_paragraphs_and_lone_titles() -> None:
    text = (
        "MIT LICENSE\n\nPermission is hereby\ngranted.\n\n-----\n\n"
        "THE END IS NOT A TITLE, IT GOES ON FOR LONGER THAN ANY TITLE SHOULD GO"
    )
    assert parse_plain(text) == [
        Heading("MIT LICENSE", 2),
        Paragraph("Permission is hereby granted."),
        Paragraph("THE END IS NOT A TITLE, IT GOES ON FOR LONGER THAN ANY TITLE SHOULD GO"),
    ]
