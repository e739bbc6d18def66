from __future__ import annotations

import ntpath
import sys
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidSymbol
from workbench.market.contracts import Contract, check_symbol, folder_name


@pytest.mark.parametrize("symbol", ["A", "SPY", "BRK B", "BF.B", "RDS-A", "9988", "CON", "ABCDEFGHIJ"])
def test_a_symbol_that_ib_could_have_passes(symbol: str) -> None:
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "symbol",
    ["", " ", ".", "..", "../x", "/etc", "A/B", "A\\B", "C:", "A:B", "spy", "SPY ", " SPY", "SPY\n", "SPÿ",
     "SPY\0", "*", "A.", "-A", "ABCDEFGHIJK", "\uff14", "SP_Y", None, 7],
)  # fmt: skip
def test_what_is_no_symbol_or_no_safe_folder_is_refused(symbol: object) -> None:
    with pytest.raises(InvalidSymbol, match="is no symbol"):
        check_symbol(symbol)  # type: ignore[arg-type]
    with pytest.raises(InvalidSymbol):
        Contract(symbol)  # type: ignore[arg-type]


def test_a_symbol_in_small_letters_gets_a_hint() -> None:
    with pytest.raises(InvalidSymbol, match="did you mean 'SPY'"):
        check_symbol("spy")


def test_a_hint_is_a_symbol_itself() -> None:
    with pytest.raises(InvalidSymbol) as caught:
        check_symbol("../evil")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("symbol", "folder"), [("CON", "CON_"), ("COM1", "COM1_"), ("AUX.A", "AUX.A_"), ("CONE", "CONE")]
)
def test_a_device_of_windows_gets_an_underscore(symbol: str, folder: str) -> None:
    assert folder_name(symbol) == folder


def is_reserved(name: str) -> bool:
    """Return whether Windows keeps the name for itself; Python 3.13 moved the question."""
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(name)
    return PureWindowsPath(name).is_reserved()


@given(st.from_regex(r"[A-Z0-9 .\-]{1,10}", fullmatch=True))
def test_whatever_passes_names_one_folder_on_every_system_and_is_found_by_it(symbol: str) -> None:
    try:
        folder = folder_name(symbol)
    except InvalidSymbol:
        return

    assert Path("base", folder).parent == Path("base")
    assert not is_reserved(folder)
    assert folder.rstrip("_") == symbol
