"""Compiles every kernel into its cache: ``make install`` runs this, so that no first use waits for a compiler.

Belongs here: the list of what is compiled. Doesn't: kernels, and the examples that they are compiled with.
"""

from research_to_prod.attribution import quote_match
from research_to_prod.gates import statistics
from research_to_prod.market_data import bar_proof
from research_to_prod.promotion.rollback import history
from research_to_prod.research import sweep


def compile_ahead() -> None:
    """Compile the kernels of all rooms; each takes some seconds the first time and none afterwards."""
    bar_proof.compile_ahead()
    sweep.compile_ahead()
    statistics.compile_ahead()
    history.compile_ahead()
    quote_match.compile_ahead()


if __name__ == "__main__":
    compile_ahead()
