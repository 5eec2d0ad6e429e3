"""Files that people edit are plain YAML: whatever else one holds is refused in words, and nothing of it runs."""

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.declared import parse_yaml

LAUGHS = "\n".join(["a: &a [x, x]", *(f"{b}: &{b} [*{a}, *{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("!!python/object/apply:os.system ['touch here']", "could not determine a constructor"),
        (LAUGHS, "found an alias; write the value out"),
        ("&a [*a]", "found an alias"),
        ("drawdown: 0.1\nloss: 2\ndrawdown: 0.9", r"(?s)the key 'drawdown' twice.*line 3"),
        ("limits: {daily: 1, daily: 2}", "the key 'daily' twice"),
        ("[" * 3000, "below 40 levels"),
        ("since: 2024-13-45", "not of its type: month must be in 1..12"),
        ("9" * 5000, "not of its type"),
        ("!!bool perhaps", "not of its type"),
        ("x" * 1_000_001, "1,000,001 characters; 1,000,000 are allowed"),
    ],
)
def test_what_is_not_plain_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(yaml.YAMLError, match=told):
        parse_yaml(text)


TAGS = [f"!!{tag} " for tag in ("int", "bool", "float", "timestamp", "binary", "set", "omap", "pairs", "map", "null")]
SIGNS = [*"{}[],:?-#|>%'\"\n\t &*", "a", "1", "0x", "2024-13-45", "&a ", "*a", "<<: ", "- ", "? ", ": ", "---\n"]


@given(parts=st.lists(st.sampled_from(TAGS + SIGNS) | st.text(max_size=4), max_size=12))
def test_any_text_is_plain_values_or_no_yaml(parts: list[str]) -> None:
    with contextlib.suppress(yaml.YAMLError):
        parse_yaml("".join(parts))


def test_plain_files_say_what_yaml_says() -> None:
    text = "a: {b: [1, 2.5, true, null, 2024-01-02]}\nc: |\n  text\n"
    assert parse_yaml(text) == yaml.safe_load(text)
