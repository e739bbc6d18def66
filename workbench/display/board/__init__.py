"""The board: a watchlist that moves, the charts of one of its symbols, alerts, and a status line that does not lie."""

from workbench.display.board.board import Board, BoardParts
from workbench.display.board.market import History

__all__ = ["Board", "BoardParts", "History"]
