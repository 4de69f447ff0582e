"""World-model checkpoints: reading them without running anything in them, and writing them."""

from __future__ import annotations

from imagine_cli.checkpoint.convert import convert_world_model
from imagine_cli.checkpoint.export import export_world_model
from imagine_cli.checkpoint.export_latent import export_latent_world_model
from imagine_cli.checkpoint.format import FORMAT, VERSION, Checkpoint
from imagine_cli.checkpoint.reader import (
    check_env,
    checkpoint_files,
    load_world_model,
    read_checkpoint,
)
from imagine_cli.checkpoint.writer import save_world_model

__all__ = [
    "FORMAT",
    "VERSION",
    "Checkpoint",
    "check_env",
    "checkpoint_files",
    "convert_world_model",
    "export_latent_world_model",
    "export_world_model",
    "load_world_model",
    "read_checkpoint",
    "save_world_model",
]
