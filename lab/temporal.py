"""The lab's Temporal server: the real one, with its UI and a file for its state."""

from collections.abc import Mapping
from pathlib import Path

from lab import state
from lab.spec import LabSpec
from workers.temporal_server import launch

UI_ABOVE = 1000  # the UI's port, counted from the server's
ROLE = "temporal"
STOP_SECONDS = 10.0


def start_temporal(
    spec: LabSpec,
    program: Path,
    *,
    search_attributes: Mapping[str, str] | None = None,
    codec_endpoint: str | None = None,
) -> None:
    """Start the lab's server; its state is in <root>/temporal/temporal.db and outlives it.

    Args:
        spec: the lab.
        program: Temporal's CLI.
        search_attributes: name → type ("Keyword", "Int", "Datetime", ...), registered when this returns.
        codec_endpoint: URL of the codec server that the UI asks to decode payloads.

    Raises:
        SealringError: as `launch`.
    """
    process = launch(
        program,
        spec.root / "temporal",
        port=spec.temporal_port,
        ui_port=spec.temporal_port + UI_ABOVE,
        search_attributes=search_attributes or {},
        codec_endpoint=codec_endpoint,
    )
    state.record(spec.root, ROLE, process.pid)


def stop_temporal(spec: LabSpec) -> None:
    """Stop the lab's server; running workflows go on when it is started again."""
    state.stop(spec.root, ROLE, STOP_SECONDS)
