"""The grammar of filters: what it takes, and the words of Consul's parser (seen on 1.8, 1.16 and 1.22) elsewhere."""

from __future__ import annotations

import pytest

from aioconsulconnect.testing.protocol.filter_grammar import FilterSyntaxError, parse_filter

START = r'"(", "-", "0", "\"", "`", "not", [ \t\r\n], [1-9] or [a-zA-Z]'


@pytest.mark.parametrize(
    "expression",
    [
        "a==1",
        " a == b ",
        'a.b["c d"].e != -1.5',
        "not not a == b",
        "`x` in a and (5 not in b or c is not empty)",
        "a not matches `[`",
        "nota == b",
        "not == b",
        'a == "\\n"',
        "a == `\\`",
    ],
)
def test_filter_of_the_language_is_taken(expression: str) -> None:
    parse_filter(expression)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("*", f"1:1 (0): no match found, expected: {START}"),
        ("x", r'1:2 (1): no match found, expected: "!=", ".", "==", "[", [ \t\r\n] or [a-zA-Z0-9_]'),
        (
            "a b",
            r'1:3 (2): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \t\r\n]',
        ),
        ("a is", r"1:5 (4): no match found, expected: [ \t\r\n]"),
        ("a == b c", r'1:8 (7): no match found, expected: "and", "or", [ \t\r\n] or EOF'),
        ("a == b)", r'1:7 (6): no match found, expected: ".", "[", [ \t\r\n], [a-zA-Z0-9_] or EOF'),
        ("5", r'1:2 (1): no match found, expected: ".", [ \t\r\n] or [0-9]'),
        ("(a == b", '1:8 (7): rule "grouping": Unmatched parentheses'),
        ("a == 01", '1:7 (6): rule "number": Invalid number literal'),
        ('a == "x', '1:8 (7): rule "string": Unterminated string literal'),
        (r'a == "\q"', '1:6 (5): rule "string": invalid syntax'),
        ("a[b] == c", '1:3 (2): rule "index": Invalid index'),
        ('a in ""', '1:6 (5): rule "match": Invalid selector'),
        ("a[`", '1:4 (3): rule "string": Unterminated string literal\n1:3 (2): rule "index": Invalid index'),
    ],
)
def test_other_text_is_refused_in_consul_s_words(expression: str, complaint: str) -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        parse_filter(expression)
    assert str(caught.value) == complaint
