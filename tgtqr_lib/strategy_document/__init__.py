"""The strategy document: `docs/trading_strategy.tex` holds the words, this package every figure in them."""

from tgtqr_lib.strategy_document.building import build, check_pdflatex, problems
from tgtqr_lib.strategy_document.study import DAYS
from tgtqr_lib.strategy_document.tex import Pages
from tgtqr_lib.strategy_document.writing import write

__all__ = ["DAYS", "Pages", "build", "check_pdflatex", "problems", "write"]
