"""Options that say where trials are run; `evaluation.cluster.trial_crew` takes them."""

from typing import Annotated

import typer

Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that run episodes; 0: this one.", show_default="one a core"),
]
Cluster = Annotated[
    str,
    typer.Option(
        help="Run them on a Ray cluster: HOST:PORT, or 'auto' for the one of this machine.", show_default="this machine"
    ),
]
