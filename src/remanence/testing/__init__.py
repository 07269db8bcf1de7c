"""The contract tests, for systems of the library and of others: what holds for every system, whatever it is.

Example
-------
>>> from remanence import testing
>>> testing.check("ncm")  # every check, on the system's small stream

Under pytest, with a line a system and a check:

    @pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(testing.walk("my-system"))
"""

from remanence.testing.checks import CHECKS, ContractError, check
from remanence.testing.elsewhere import Elsewhere
from remanence.testing.walk import Walk, walk

__all__ = ["CHECKS", "ContractError", "Elsewhere", "Walk", "check", "walk"]
