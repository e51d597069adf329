"""Side by side, the tests of a module may meet in several processes; what it sets up once must stay in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.together import scope_of

TESTS = Path(__file__).parents[1]
SHARING = [str(path.relative_to(TESTS.parent)) for path in sorted(TESTS.rglob("test_*.py")) if 'scope="module"' in path.read_text()]


@pytest.mark.parametrize("module", [module for module in SHARING if module != "tests/fundamentals/test_together.py"])
def test_a_module_that_sets_something_up_once_stays_together(module: str) -> None:
    assert scope_of(f"{module}::test_one[a]") == scope_of(f"{module}::test_two")


def test_others_run_side_by_side() -> None:
    assert scope_of("tests/unit/test_text.py::test_one") != scope_of("tests/unit/test_text.py::test_two")
