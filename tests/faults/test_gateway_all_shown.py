"""No fault and no limit of the gateway goes without a test through the real ib_insync: this test reads the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from workbench.gateway import rules
from workbench.gateway.faults.script import action_names
from workbench.gateway.rules import RULES

TESTS = Path(__file__).parents[1]
OF_FAULTS = sorted((TESTS / "faults").glob("test_gateway_*.py"))
OF_RULES = [TESTS / "system" / "test_gateway_rules.py"]
REAL_CLIENT = {"meet", "against"}
"""What lets the real ib_insync converse with a gateway, in `desk.py` and in the tests of the rules."""


@cache
def shown(*modules: Path) -> dict[str, set[str]]:
    """Return what each test with the real client names, itself or by a table or function that it names."""
    found = {}
    for module in modules:
        parts = dict(_parts(ast.parse(module.read_text(encoding="utf-8"))))
        for name in [it for it in parts if it.startswith("test_")]:
            words = _reached(name, parts)
            if words & REAL_CLIENT:
                found[f"{module.stem}.{name}"] = words
    return found


def _parts(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Yield each function and table of a module with all names in it; what is called has a pair of brackets, too."""
    for node in tree.body:
        words = {it.id for it in ast.walk(node) if isinstance(it, ast.Name)}
        words |= {it.attr for it in ast.walk(node) if isinstance(it, ast.Attribute)}
        words |= {
            f"{it.func.id}()" for it in ast.walk(node) if isinstance(it, ast.Call) and isinstance(it.func, ast.Name)
        }
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, words
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name, words


def _reached(name: str, parts: dict[str, set[str]]) -> set[str]:
    reached, ahead = set[str](), {name}
    while ahead:
        word = ahead.pop()
        reached.add(word)
        ahead |= parts.get(word, set()) - reached
    return reached


@pytest.mark.parametrize("name", action_names())
def test_every_fault_is_shown_through_the_real_client(name: str) -> None:
    made = f"{action_names()[name].__name__}()"

    assert [test for test, words in shown(*OF_FAULTS).items() if made in words], f"no test meets {name}"


@pytest.mark.parametrize("rule", RULES, ids=lambda it: it.name)
def test_every_row_of_the_rules_is_shown_through_the_real_client(rule: rules.Rule) -> None:
    (name,) = [name for name, value in vars(rules).items() if value is rule]

    assert [test for test, words in shown(*OF_RULES).items() if name in words], f"no test breaks {rule.name}"


def test_a_fault_without_a_test_is_found() -> None:
    names = set().union(*shown(*OF_FAULTS).values())

    assert "Truncate()" in names
    assert "Explode()" not in names
    assert not shown(Path(__file__))
