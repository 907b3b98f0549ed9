"""Questions put to many nets: `compare` settings, `search` for a good one.

Every setting is trained on the same splits with the same seeds, orders and dropout
masks, in threads of this process, and differences come with their uncertainty.
"""

from lamina.experiments.compare import compare
from lamina.experiments.search import log, search
from lamina.experiments.table import Table

__all__ = ["Table", "compare", "log", "search"]
