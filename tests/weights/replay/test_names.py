"""Names that end in pluses are still composed by a plus."""

from remanence import systems


def test_names_that_end_in_pluses_compose():
    assert systems.names("der++") == ["der++"]
    assert systems.names("er+der++") == ["er", "der++"]
    assert systems.names("der+++naive") == ["der++", "naive"]
