# SPDX-License-Identifier: Apache-2.0
"""Generated values that a kubelet could send: no more and no less than the API admits.

A runtime that stumbles over one of these has stumbled over a pod that somebody can
make, so a failure is never the suite's invention. The limits are those of Kubernetes:
names of DNS form, keys with an optional prefix, label values of 63 characters,
annotations of any text up to 256 KiB together. What ``AWKWARD_*`` holds is tried by
every run, as chance finds the longest and the emptiest too seldom.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_LOWER = string.ascii_lowercase + string.digits
_ANY = string.ascii_letters + string.digits
#: Label values and the second part of keys.
LONGEST_LABEL = 63
#: DNS subdomains: pod names and the prefixes of keys.
LONGEST_NAME = 253
#: All keys and values of an object's annotations together, in bytes.
ANNOTATIONS_BYTES = 256 * 1024

#: Top-level domain of every generated prefix: reserved, so that no runtime gives it a meaning.
_NOBODYS = "example"


def _worded(edge: str, longest: int, middle: str, *, empty: bool = False) -> SearchStrategy[str]:
    """Text that begins and ends with ``edge`` characters; often short, sometimes the longest."""
    ends = st.sampled_from(edge)
    short = st.builds(
        lambda first, mid, last: first + mid + last,
        ends,
        st.text(edge + middle, max_size=8),
        ends,
    )
    full = st.builds(
        lambda first, mid, last: (first + mid * longest)[: longest - 1] + last,
        ends,
        st.text(edge + middle, min_size=1, max_size=8),
        ends,
    )
    kinds = [ends, short, short, full]
    return st.one_of(*([st.just("")] if empty else []), *kinds)


def dns_labels(longest: int = LONGEST_LABEL) -> SearchStrategy[str]:
    """Container names, namespaces: lower case, digits and hyphens, 63 characters."""
    return _worded(_LOWER, longest, "-")


def dns_subdomains(longest: int = LONGEST_NAME) -> SearchStrategy[str]:
    """Pod names: DNS labels joined by dots, 253 characters."""
    return (
        st.lists(dns_labels(), min_size=1, max_size=4).map(".".join).map(lambda s: s[:longest])
    ).map(lambda s: s.rstrip("-."))


def attempts() -> SearchStrategy[int]:
    """Attempts of a sandbox or container: any that the field holds, small ones first."""
    return st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1), st.just(2**32 - 1))


def keys() -> SearchStrategy[str]:
    """Keys of labels and annotations, with and without a prefix.

    None of them means anything to Kubernetes, to a runtime or to the suite.
    """
    name = _worded(_ANY, LONGEST_LABEL, "-_.")
    prefix = dns_subdomains(LONGEST_NAME - len(_NOBODYS) - 1).map(lambda p: f"{p}.{_NOBODYS}")
    return st.one_of(name, st.builds("{}/{}".format, prefix, name))


def label_values() -> SearchStrategy[str]:
    """Values of labels, the empty one among them."""
    return _worded(_ANY, LONGEST_LABEL, "-_.", empty=True)


def label_maps(largest: int = 8) -> SearchStrategy[dict[str, str]]:
    """Labels of a pod or container."""
    return st.dictionaries(keys(), label_values(), max_size=largest)


def texts(longest: int = 200) -> SearchStrategy[str]:
    """Any UTF-8 text but NUL, which ends a string for half of the programs on its way."""
    return st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=longest
    )


def annotation_maps(largest: int = 8) -> SearchStrategy[dict[str, str]]:
    """Annotations of a pod or container, well below the limit on all of them together."""
    return st.dictionaries(keys(), texts(), max_size=largest)


#: Every form of label that the API admits.
AWKWARD_LABELS: Mapping[str, str] = {
    "a": "b",
    "no-value": "",
    "UPPER.lower_and-more": "UPPER.lower_and-more",
    "prefix.example/name": "with-prefix",
    "a-1.b-2.example/N_a.m-E": "0",
    "x" * 63: "longest-name",
    "longest-value": "v" * 63,
    "p" * 245 + ".example/" + "n" * 63: "L" * 63,
    "double--dash..dot__line": "a--b..c__d",
    "0": "1",
    # Twins in all but case: a runtime that folds one of them loses the other.
    "twin": "case",
    "Twin": "CASE",
}

#: Every form of annotation that the API admits, but for the largest: see ``largest_annotations``.
AWKWARD_ANNOTATIONS: Mapping[str, str] = {
    "empty": "",
    "blank": " ",
    "edges": "  kept on both sides\t",
    "lines": "one\ntwo\r\nthree\n",
    "slashes": "/a//b/../c\\d",
    "quotes": """'single' "double" `back` $HOME ${x} %s %00 {{.}}""",
    "json": '{"a": [1, null, "\\u0000"]}',
    "equals": "a=b,c=d;e",
    "controls": "\x01\x07\x1b[31m\x7f",
    "latin": "Grüße, señor Ångström",
    "wide": "日本語 한국어 עברית",
    "astral": "🐳👩‍👩‍👧",
    # Two ways to write the same letters: normalising either would change it.
    "composed": "é",
    "decomposed": "e\N{COMBINING ACUTE ACCENT}",
    "marks": "\N{ZERO WIDTH NO-BREAK SPACE}\N{RIGHT-TO-LEFT OVERRIDE}\N{LINE SEPARATOR}",
    "UPPER_Case.Key": "Upper and lower",
    "prefix.example/name": "with a prefix",
    "p" * 245 + ".example/" + "n" * 63: "longest key",
    "twin": "case",
    "Twin": "CASE",
    "number": "007",
    "long": "long value " * 800,
}


def largest_annotations() -> dict[str, str]:
    """Annotations of just the size that the API admits for one object."""
    key = "largest"
    return {key: "x" * (ANNOTATIONS_BYTES - len(key))}


# -- the first process of a container ------------------------------------------------------


def words() -> SearchStrategy[str]:
    """Words of a command or of its arguments: anything but NUL."""
    return st.one_of(st.sampled_from(AWKWARD_WORDS), texts(40))


def variable_names() -> SearchStrategy[str]:
    """Names of environment variables. None of them means anything to a program."""
    return _worded(string.ascii_letters, 60, "-_." + string.digits).map(lambda name: f"cri.{name}")


def environments(largest: int = 8) -> SearchStrategy[dict[str, str]]:
    """The environment variables that a container asks for."""
    return st.dictionaries(variable_names(), texts(), max_size=largest)


#: Words that a shell, or splitting at blanks, would make something else of.
AWKWARD_WORDS: tuple[str, ...] = (
    "",
    " ",
    "two words",
    "  edges\t",
    "line\nbreak\n",
    "'single'",
    '"double"',
    "back\\slash",
    "$HOME",
    "${PATH}",
    "$(id)",
    "`id`",
    "*",
    "/bin/?h",
    "~",
    "a;b",
    "a|b",
    "a&b",
    ">file",
    "#hash",
    "--",
    "-n",
    "{{.Name}}",
    "%s%n",
    "Grüße 日本語 🐳",
    "\x01\x7f",
    "long word " * 400,
)

#: Names of environment variables that the API admits and a shell would not.
AWKWARD_VARIABLES: tuple[str, ...] = (
    "with.dots",
    "with-dashes",
    "lower_case",
    "Mixed_Case",
    "UPPER_CASE",
    "_",
    "-",
    "__leading.and-trailing__",
    "digits.0123",
    "n" * 200,
    # Twins in all but case.
    "TWIN",
    "twin",
)
