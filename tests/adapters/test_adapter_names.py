import pytest

from evenly.adapters import ADAPTERS, ALIASES, adapter_name
from evenly.adapters.errors import UnknownAdapterError


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tip", "tip"),
        ("tip-adapter", "tip"),
        ("Tip-Adapter-F", "tip_f"),
        ("TIP-X", "tipx"),
        ("SuS-X", "tipx"),
        ("caps-adapter", "caps"),
        ("gda-em", "gda_em"),
        ("REAL", "real_linear"),
        ("REAL-Linear", "real_linear"),
        ("clip-svd", "singular_scaling"),
        ("AMU-Tuning", "amu"),
        ("COOkeD", "cooked"),
        ("linear probe", "linear"),
        ("zero-shot", "zero_shot"),
    ],
)
def test_names_of_papers_and_other_spellings_are_understood(name, meant):
    assert adapter_name(name) == meant


def test_an_alias_means_an_adapter_and_hides_none():
    assert set(ALIASES.values()) <= set(ADAPTERS)
    assert not set(ALIASES) & set(ADAPTERS)
    assert all(adapter_name(name) == name for name in ADAPTERS)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UnknownAdapterError, match=r"must be one of zero_shot, linear, .*; got `adapter`"):
        adapter_name("adapter")
