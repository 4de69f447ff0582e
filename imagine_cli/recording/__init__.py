"""The rollout file (HDF5): its schema, its writer, its reader. No torch; h5py when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagine_cli.lazy import lazy_names

if TYPE_CHECKING:
    from imagine_cli.recording.fields import FIELDS as FIELDS
    from imagine_cli.recording.reader import Rollout as Rollout
    from imagine_cli.recording.reader import open_rollout as open_rollout
    from imagine_cli.recording.schema import FORMAT as FORMAT
    from imagine_cli.recording.schema import FORMAT_VERSION as FORMAT_VERSION
    from imagine_cli.recording.schema import RolloutHeader as RolloutHeader
    from imagine_cli.recording.schema import installed_versions as installed_versions
    from imagine_cli.recording.shard import Shard as Shard
    from imagine_cli.recording.writer import PartWriter as PartWriter
    from imagine_cli.recording.writer import RolloutWriter as RolloutWriter
    from imagine_cli.recording.writer import write_rollout as write_rollout

_HOME = {
    "FIELDS": "fields",
    "FORMAT": "schema",
    "FORMAT_VERSION": "schema",
    "PartWriter": "writer",
    "Rollout": "reader",
    "RolloutHeader": "schema",
    "RolloutWriter": "writer",
    "Shard": "shard",
    "installed_versions": "schema",
    "open_rollout": "reader",
    "write_rollout": "writer",
}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
