"""Names that end in pluses are still composed by a plus."""

from remanence import registry


def test_names_that_end_in_pluses_compose():
    assert registry.names("der++") == ["der++"]
    assert registry.names("er+der++") == ["er", "der++"]
    assert registry.names("der+++naive") == ["der++", "naive"]
