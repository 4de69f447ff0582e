"""Everything that goes by a name: one table for each kind of thing, one way to find one.

A name leads to ``module:attribute``, imported when it is asked for. Another package adds to a
table by an entry point in the group ``imagine_cli.world_models``, ``imagine_cli.policies``, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from imagine_cli.errors import InputError
from imagine_cli.importing import current_folder


def resolve(where: str) -> Any:
    """What is at ``module:attribute``; the module itself where no attribute is given."""
    module, _, attribute = where.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def is_users_own(spec: str) -> bool:
    """Whether ``spec`` looks like ``module:attribute``."""
    return re.fullmatch(r"\w+(\.\w+)*:\w+", spec) is not None


def named_by_user(spec: str, what: str) -> Any:
    """What is at ``module:attribute``, the module found in the current folder too.

    Raises InputError where there is none, or where importing it fails.
    """
    try:
        with current_folder():
            return resolve(spec)
    except Exception as error:  # a user's module may raise anything at all
        raise InputError(
            f"{what} {spec!r} can't be imported: {type(error).__name__}: "
            f"{' '.join(str(error).split())}"
        ) from error


@dataclass(frozen=True)
class Registry:
    """A table of named things; it iterates over their names, this package's first.

    Attributes:
        group: of the entry points by which other packages add to it, after ``imagine_cli.``.
        noun: what one of them is, in a sentence with its name at ``{}``.
        own: where those of this package are.
    """

    group: str
    noun: str
    own: Mapping[str, str]

    def __iter__(self) -> Iterator[str]:
        return iter([*self.own, *sorted(set(self._others()) - set(self.own))])

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._others()

    def check(self, name: str) -> None:
        """InputError, with the names that there are, where this is none of them."""
        if name not in self:
            about = self.noun.format(repr(name))
            raise InputError(f"no {about}; there is {', '.join(self) or 'none yet'}")

    def load(self, name: str) -> Any:
        """What a name leads to. InputError where there is none, or where it can't be imported."""
        if name in self.own:
            return resolve(self.own[name])
        self.check(name)
        point = self._others()[name]
        try:
            return point.load()
        except Exception as error:  # another package's import may raise anything at all
            raise InputError(
                f"{self.noun.format(repr(name))} of {point.value} can't be imported: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _others(self) -> dict[str, metadata.EntryPoint]:
        points = metadata.entry_points(group=f"imagine_cli.{self.group}")
        return {point.name: point for point in points}


# Each a subclass of WorldModel.
WORLD_MODELS = Registry("world_models", "kind of world model {}", {
    "gp": "imagine_cli.world_models.gp.exact:GaussianProcessWorldModel",
    "sparse-gp": "imagine_cli.world_models.gp.sparse:SparseGPWorldModel",
    "ensemble": "imagine_cli.world_models.ensemble:EnsembleWorldModel",
    "exported": "imagine_cli.world_models.exported:ExportedWorldModel",
    "onnx": "imagine_cli.world_models.onnx:OnnxWorldModel",
    "latent": "imagine_cli.world_models.latent:LatentWorldModel",
    "linear": "imagine_cli.world_models.linear_gaussian:LinearGaussianWorldModel",
})  # fmt: skip

# Each has what imagine_cli.fitting.kinds.Kind says.
FITS = Registry("fits", "kind of world model {} to fit", {
    "gp": "imagine_cli.fitting.gaussian_process",
    "sparse-gp": "imagine_cli.fitting.sparse_gp",
    "linear": "imagine_cli.fitting.linear_gaussian",
    "ensemble": "imagine_cli.fitting.ensemble",
})  # fmt: skip

# Each has recognises(path), the first that does is it, and read(path) -> Recording or Rows.
DATA_FORMATS = Registry("data_formats", "format of recorded transitions {}", {
    "rollout": "imagine_cli.transitions.rollout_file",
    "minari": "imagine_cli.transitions.minari",
    "torchrl": "imagine_cli.transitions.torchrl",
    "npz": "imagine_cli.transitions.npz",
    "hdf5": "imagine_cli.transitions.hdf5",
    "csv": "imagine_cli.transitions.csv_file",
    "parquet": "imagine_cli.transitions.parquet",
})  # fmt: skip

# Each makes a Propagation of its own parameters.
PROPAGATIONS = Registry("propagations", "propagation {}", {
    "moments": "imagine_cli.propagation.moments:Moments",
    "linearized": "imagine_cli.propagation.linearized:Linearized",
    "unscented": "imagine_cli.propagation.unscented:Unscented",
    "particles": "imagine_cli.propagation.particles:Particles",
    "module": "imagine_cli.propagation.module:Module",
})  # fmt: skip

# Each makes a Policy: of what follows its name, or of the path of a file with that ending.
POLICIES = Registry("policies", "policy {}", {
    "random": "imagine_cli.policies.random_actions:make",
    "zero": "imagine_cli.policies.constant:make_zero",
    "constant": "imagine_cli.policies.constant:make",
    "cem": "imagine_cli.policies.cem:make",
    "icem": "imagine_cli.policies.icem:make",
    "mppi": "imagine_cli.policies.mppi:make",
})  # fmt: skip
POLICY_FILES = Registry("policy_files", "policy in a file {}", {
    ".npy": "imagine_cli.policies.replay:make",
    ".csv": "imagine_cli.policies.replay:make",
    ".h5": "imagine_cli.policies.replay:make",
    ".hdf5": "imagine_cli.policies.replay:make",
    ".pt": "imagine_cli.policies.checkpoint:make",
    ".pth": "imagine_cli.policies.checkpoint:make",
    ".zip": "imagine_cli.policies.checkpoint:make",
    ".pt2": "imagine_cli.policies.exported:make",
    ".onnx": "imagine_cli.policies.onnx:make",
})  # fmt: skip

# Each a subclass of ParametricPolicy, by the kind that its checkpoints say.
POLICY_KINDS = Registry("policy_kinds", "kind of policy {}", {
    "linear": "imagine_cli.policies.linear:LinearPolicy",
    "rbf": "imagine_cli.policies.rbf:RBFPolicy",
    "mlp": "imagine_cli.policies.mlp:MLPPolicy",
    "exported": "imagine_cli.policies.exported:ExportedPolicy",
})  # fmt: skip

# Each a Method: how imagine learn learns.
METHODS = Registry("methods", "method {} of learning", {
    "pilco": "imagine_cli.search.methods:PILCO",
    "mc-pilco": "imagine_cli.search.methods:MC_PILCO",
    "pets": "imagine_cli.search.methods:PETS",
})  # fmt: skip
# Each makes a Reward of what follows its name, and a RewardContext.
REWARDS = Registry("rewards", "reward {}", {
    "env": "imagine_cli.rewards.env:make",
    "model": "imagine_cli.rewards.learned:make",
    "quadratic": "imagine_cli.rewards.quadratic:make",
    "saturating": "imagine_cli.rewards.saturating:make",
})  # fmt: skip

# Each an Engine, made of its options.
ENGINES = Registry("engines", "engine {}", {
    "local": "imagine_cli.engines.local:LocalEngine",
    "processes": "imagine_cli.engines.processes:ProcessesEngine",
    "ray": "imagine_cli.engines.ray:RayEngine",
})  # fmt: skip

# Each gives the rows of a benchmarks.table.Bench.
BENCHMARKS = Registry("benchmarks", "benchmark {}", {
    "moment-matching": "imagine_cli.benchmarks.moment_matching:forward",
    "gradient": "imagine_cli.benchmarks.moment_matching:gradient",
    "policy-gradient": "imagine_cli.benchmarks.policy_gradient:rollouts",
    "rollout": "imagine_cli.benchmarks.rollouts:imagined_env",
    "engine": "imagine_cli.benchmarks.rollouts:engine",
    "ensemble": "imagine_cli.benchmarks.ensemble:step",
})  # fmt: skip
