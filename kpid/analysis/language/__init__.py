"""The small language of conditions and formulas in the configuration: read, checked for its shape, printed again. Pure.

What names mean is not known here: :mod:`kpid.metrics.written` gives them a meaning.
"""

from kpid.analysis.language.parser import parse
from kpid.analysis.language.tokens import Mistake
from kpid.analysis.language.tree import Node, printed

__all__ = ["Mistake", "Node", "parse", "printed"]
