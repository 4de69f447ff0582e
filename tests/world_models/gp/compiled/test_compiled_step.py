"""The compiled step against the papers' formulas in 50 digits, autograd, and the step of torch."""

from __future__ import annotations

import copy
import os
import pickle
import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import imagine_cli.world_models.gp.compiled.moment_matching as module
from imagine_cli import ImagineError
from imagine_cli.belief import ActionBelief, Belief, joint
from imagine_cli.errors import MissingExtraError
from imagine_cli.world_models.gp.base import GPWorldModel
from imagine_cli.world_models.gp.compiled import kernel
from imagine_cli.world_models.gp.compiled.step import CompiledStep
from imagine_cli.world_models.gp.moment_matching import moment_step
from tests.helpers.gp_models import random_belief, random_model, smooth_model, stacked
from tests.helpers.gp_reference import exact, worst
from tests.helpers.linear_systems import linear_model
from tests.helpers.sparse_gps import random_sparse

SIZES = [0.0, 1e-16, 1e-12, 1e-8, 1e-4, 1.0, 1e4]
SHAPES = [(1, 0, 1), (1, 1, 5), (2, 1, 8), (3, 2, 12)]


class Bound(CompiledStep):
    """A model's compiled step with its own noise."""

    def __init__(self, model: GPWorldModel) -> None:
        super().__init__(model.constants)
        self.noise = model._noise

    def of(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self(self.noise, mean, var)


def some_beliefs(model: GPWorldModel, count: int, size: float) -> tuple[Tensor, Tensor]:
    x = joint(*stacked(model, count, size))  # type: ignore[arg-type]
    return x.mean, x.var


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """With work shared out however little there is of it."""
    before = torch.get_num_threads()
    monkeypatch.setattr(module, "_FEWEST", 0)
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("outputs", "actions", "n"), SHAPES)
@pytest.mark.parametrize("rank", [None, 1], ids=["full", "singular"])
def test_beliefs_are_exact(
    outputs: int, actions: int, n: int, size: float, rank: int | None
) -> None:
    """As test_moment_matching_exact.py asks of torch's, without noise that hides the variance."""
    for seed, kind in enumerate(("mean", "var", "policy") if actions else ("mean",)):
        model = random_model(seed + 10 * n, outputs, actions, n, process_noise=seed == 1)
        model.compile()
        belief, action = random_belief(model, seed, size, rank=rank, action=kind)
        found, wanted = model.predict(belief, action), exact(model, belief, action)
        deviations = wanted.next_var.diagonal().sqrt()
        scale = deviations.unsqueeze(-1) * deviations
        sums = wanted.sums + belief.mean.abs()
        rounding = 2.0**-53 * condition(model, belief, action)
        assert worst(found.mean, wanted.next_mean, sums) < 1e-13 + rounding
        assert worst(found.var, wanted.next_var, scale) < max(1e-10, rounding)
        assert torch.equal(found.var, found.var.mT)


def condition(model: GPWorldModel, belief: Belief, action: ActionBelief) -> float:
    weights = 1.0 / model.lengthscales
    scaled = weights.unsqueeze(-1) * joint(belief, action).var * weights.unsqueeze(-2)
    return 1.0 + float(torch.linalg.matrix_norm(scaled, 2).max())


@pytest.mark.parametrize("signal_to_noise", [1e3, 1e4, 1e5])
def test_small_noise(signal_to_noise: float) -> None:
    model = smooth_model(20, 2, 1, 20, signal_to_noise)
    model.compile()
    belief, action = random_belief(model, 3, 1e-2, action="policy")
    found, wanted = model.predict(belief, action), exact(model, belief, action)
    one = torch.ones(2, 2, dtype=torch.float64)
    assert worst(found.var, wanted.next_var, one) < 1e-10
    assert torch.linalg.eigvalsh(found.var)[0] >= 0.0


@pytest.mark.parametrize("kind", ["gp", "sparse-gp"])
@pytest.mark.parametrize(
    ("outputs", "actions", "n"), [(1, 0, 1), (2, 1, 7), (3, 2, 40), (4, 1, 70), (5, 4, 33)]
)
def test_it_is_the_step_of_torch(
    kind: str, outputs: int, actions: int, n: int, threads: int
) -> None:
    """And its derivative is the one that torch finds in whole matrices."""
    if kind == "gp":
        model: GPWorldModel = random_model(n, outputs, actions, n, units=False)
    else:
        model = random_sparse(n, outputs, actions, points=n, n=2 * n, units=False)[0]
    if actions:
        mean, var = some_beliefs(model, 5, 0.2)
    else:
        x = [joint(*random_belief(model, k, 0.2)) for k in range(5)]
        mean, var = (torch.stack(part) for part in zip(*x, strict=True))
    mean, var = mean.requires_grad_(), var.requires_grad_()
    found = Bound(model).of(mean, var)
    wanted = moment_step(model.constants, model._noise, mean, var)
    scale = wanted[1].detach().abs().max()
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-11, atol=1e-12)
    # Both are within 1e-10 of the exact covariance.
    torch.testing.assert_close(found[1], wanted[1], rtol=2e-10, atol=1e-13 * float(scale))
    g = torch.Generator().manual_seed(n)
    by = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in wanted]
    derived = torch.autograd.grad(found, (mean, var), by)
    whole = torch.autograd.grad(wanted, (mean, var), by, create_graph=True)
    for one, other in zip(derived, whole, strict=True):
        assert (one - other).abs().max() <= 1e-12 * other.abs().max() + 1e-14


@pytest.mark.parametrize("rank", [None, 1], ids=["full", "singular"])
@pytest.mark.parametrize("size", [0.0, 0.3])
def test_derivatives_are_finite_differences(size: float, rank: int | None) -> None:
    model = random_model(1, 2, 1, 4, units=False)
    model.compile()
    belief, action = random_belief(model, 4, size, rank=rank, action="policy")
    assert action.cross_covariance is not None
    given = tuple(x.clone().requires_grad_() for x in (*belief, action.mean))

    def steps(mean: Tensor, var: Tensor, control: Tensor) -> tuple[Tensor, Tensor]:
        now = Belief(mean, var)
        for _ in range(2):
            acted = ActionBelief(control, action.var, action.cross_covariance)
            now = Belief(*model.predict(now, acted)[:2])
        return now.mean, now.var

    assert torch.autograd.gradcheck(steps, given)
    assert torch.autograd.gradgradcheck(steps, given, atol=1e-4)


@pytest.mark.parametrize("which", [0, 1])
def test_one_argument_alone(which: int) -> None:
    model = random_model(3, 2, 1, 5, units=False)
    step = Bound(model)
    both = [part.clone().requires_grad_() for part in some_beliefs(model, 3, 0.2)]
    wanted = torch.autograd.grad(sum(x.sum() for x in step.of(*both)), both)
    one = [part.detach().requires_grad_(k == which) for k, part in enumerate(both)]
    total = sum(x.sum() for x in step.of(*one))
    torch.testing.assert_close(torch.autograd.grad(total, one[which])[0], wanted[which])


@pytest.mark.parametrize(("outputs", "n"), [(1, 1), (1, 400), (2, 5), (3, 151), (7, 33), (11, 101)])
def test_a_row_is_the_same_in_any_batch(outputs: int, n: int, threads: int) -> None:
    model = random_model(n, outputs, 1 + outputs // 4, n)
    step, (mean, var) = Bound(model), some_beliefs(model, 17, 0.1)
    grads = [torch.ones_like(x) for x in step.of(mean, var)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    whole = *step.of(mean, var), *step.backward(mean, var, *grads)
    torch.set_num_threads(before)
    for start, count in ((0, 1), (16, 1), (3, 2), (10, 7), (0, 17)):
        some = slice(start, start + count)
        given = mean[some], var[some]
        part = *step.of(*given), *step.backward(*given, *(x[some] for x in grads))
        for one, all_ in zip(part, whole, strict=True):
            assert torch.equal(one, all_[some])


def test_beliefs_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(0, 2, 1, 30)
    step, (mean, var) = Bound(model), some_beliefs(model, 7, 0.1)
    whole = step.of(mean, var)
    monkeypatch.setattr(module, "_NUMBERS", 1)
    for one, all_ in zip(step.of(mean, var), whole, strict=True):
        assert torch.equal(one, all_)


def test_no_beliefs() -> None:
    model = random_model(0, 2, 1, 10)
    mean, var, cross = Bound(model).of(
        torch.empty(0, 3, dtype=torch.float64), torch.empty(0, 3, 3, dtype=torch.float64)
    )
    assert (mean.shape, var.shape, cross.shape) == ((0, 2), (0, 2, 2), (0, 3, 2))


@pytest.mark.parametrize("bad", [-2.0, float("nan"), float("inf")])
def test_no_covariance_gets_its_sentence(bad: float, threads: int) -> None:
    model = random_model(0, 2, 1, 10, units=False)
    mean, var = some_beliefs(model, 4, 0.1)
    var[2, 1, 1] = bad
    with pytest.raises(ImagineError, match="covariance of belief 2"):
        Bound(model).of(mean, var)


def test_a_mean_that_is_not_finite_stays_none() -> None:
    model = random_model(0, 2, 1, 10, units=False)
    mean, var = some_beliefs(model, 3, 0.1)
    mean[1, 0] = float("nan")
    found = Bound(model).of(mean, var)
    assert torch.isnan(found[0][1]).all()
    assert torch.isnan(found[1][1]).all()
    assert torch.isfinite(found[0][[0, 2]]).all()


def test_far_from_all_data_the_prior_is_left() -> None:
    model = random_model(0, 2, 1, 10, units=False)
    mean, var = some_beliefs(model, 1, 0.1)
    far, *_ = Bound(model).of(mean + 1e6, var)
    assert torch.equal(far, mean[:, :2] + 1e6)


def test_gradients_of_one_output_alone() -> None:
    model = random_model(0, 2, 1, 10)
    mean, var = some_beliefs(model, 2, 0.1)
    Bound(model).of(mean.requires_grad_(), var)[0].sum().backward()
    assert mean.grad is not None
    assert (mean.grad != 0).any()


def test_many_threads_at_once() -> None:
    model = random_model(0, 3, 1, 60)
    step, (mean, var) = Bound(model), some_beliefs(model, 4, 0.1)
    wanted = step.of(mean, var)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: step.of(mean, var), range(20)):
            assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_a_model_that_moves_is_compiled_anew_or_not_at_all() -> None:
    model, plain = random_model(0, 2, 1, 10), random_model(0, 2, 1, 10)
    belief, action = random_belief(model, 1, 0.1)
    wanted = plain.predict(belief, action)
    model.compile()
    assert model.compiled_step() is model.compiled_step()
    single = copy.deepcopy(model).to(torch.float32)
    assert single.compiled_step() is None
    assert torch.isfinite(single.predict(belief, action).var).all()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(again.predict(belief, action), wanted, rtol=1e-10, atol=1e-12)
    assert set(model.state_dict()) == set(plain.state_dict())


def test_forward_derivatives_are_not_lost() -> None:
    """Torch's step has none and says so."""
    model = random_model(0, 2, 1, 10)
    mean, var = some_beliefs(model, 2, 0.1)
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="forward AD"):
        Bound(model).of(forward_ad.make_dual(mean, torch.ones_like(mean)), var)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't copy a process")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_in_a_copied_process(threads: int) -> None:
    model = random_model(0, 3, 1, 40)
    step, (mean, var) = Bound(model), some_beliefs(model, 8, 0.1)
    wanted = step.of(mean, var)
    child = os.fork()
    if not child:
        same = all(torch.equal(*both) for both in zip(step.of(mean, var), wanted, strict=True))
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_where_numba_does_not_compile_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    model = random_model(0, 2, 1, 10)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    model.compile()
    assert not model._compiled


def change(model: GPWorldModel, how: str) -> None:
    if how == "share":
        model.share_memory()
    elif how == "in place":
        model._constants_inverse_root_t.mul_(0.5)
    elif how == "data":
        model._constants_columns.data = model._constants_columns.data + 0.1
    else:
        model._constants_beta = 2.0 * model._constants_beta


@pytest.mark.parametrize("how", ["share", "in place", "data", "another"])
@pytest.mark.parametrize("copied", [False, True])
def test_buffers_that_change_are_what_answers(how: str, copied: bool) -> None:
    model, plain = random_model(0, 2, 1, 10, units=False), random_model(0, 2, 1, 10, units=False)
    belief, action = random_belief(model, 1, 0.1)
    model.compile()
    model.predict(belief, action)
    if copied:
        model = copy.deepcopy(model)
        model.predict(belief, action)
    for each in (model, plain):
        change(each, how)
    found, wanted = model.predict(belief, action), plain.predict(belief, action)
    torch.testing.assert_close(found[:2], wanted[:2], rtol=1e-9, atol=1e-12)


def test_several_derivatives_at_once() -> None:
    model = random_model(0, 2, 1, 10, units=False)
    mean, var = some_beliefs(model, 1, 0.1)

    def jacobian(vectorize: bool) -> Tensor:
        return torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call,no-any-return]
            lambda x: Bound(model).of(x, var)[1], mean, vectorize=vectorize
        )

    torch.testing.assert_close(jacobian(True), jacobian(False), rtol=1e-10, atol=1e-12)


def test_other_kinds_have_nothing_to_compile() -> None:
    model = linear_model(2, 1)
    model.compile()
    model.predict(
        Belief(torch.zeros(2).double(), torch.eye(2).double()),
        ActionBelief(torch.zeros(1).double()),
    )


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'imagine-cli\[compile\]'"):
        random_model(0, 2, 1, 10).compile()


def in_a_new_process(home: Path, **variables: str) -> str:
    """The bits of a step and its derivative, with machine code kept in ``home``."""
    program = """
import hashlib, torch
from tests.helpers.gp_models import random_model, stacked
from imagine_cli.belief import joint
model = random_model(0, 3, 2, 40)
model.compile()
step, x = model.compiled_step(), joint(*stacked(model, 3, 0.1))
grads = [torch.ones_like(part) for part in step(model._noise, *x)]
parts = *step(model._noise, *x), *step.backward(*x, *grads)
print(hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest())
"""
    given = {"XDG_CACHE_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**env, **given}, check=True, capture_output=True
    )
    return done.stdout.decode()


@pytest.mark.long
def test_machine_code_is_kept_and_changes_no_bit(tmp_path: Path) -> None:
    """Whether it was compiled just now or before; for other processors too."""
    kept = tmp_path / "kept"
    first = in_a_new_process(kept)
    files = sorted(kept.glob("imagine/*/**/*.nbi"))
    assert files
    assert in_a_new_process(kept) == first
    assert sorted(kept.glob("imagine/*/**/*.nbi")) == files
    index, other = sorted(files, key=lambda file: file.stat().st_size)[:2]
    index.write_bytes(b"\0damaged")  # damaged machine code is made again
    code = sorted(other.parent.glob(f"{other.stem}.*.nbc"))[0]
    flipped = bytearray(code.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    code.write_bytes(flipped)
    assert in_a_new_process(kept) == first
    package = Path(module.__file__).parent
    assert not list(package.glob("__pycache__/*.nb[ci]"))
    if platform.machine() == "x86_64":
        assert in_a_new_process(kept, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="") == first


def test_machine_code_is_not_kept_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "imagine").write_text("a file where the folder would be")
    assert kernel._folder.__wrapped__(str(tmp_path)) is None


@pytest.mark.skipif(os.name != "posix", reason="only there do folders say who may write")
@pytest.mark.parametrize("where", ["", "imagine"])
def test_machine_code_is_not_read_where_others_can_write(where: str, tmp_path: Path) -> None:
    folder = tmp_path / where
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    with pytest.warns(UserWarning, match=f"{folder} belongs to others, or they can write to it"):
        assert kernel._folder.__wrapped__(str(tmp_path)) is None
    folder.chmod(0o700)
    found = kernel._folder.__wrapped__(str(tmp_path))
    assert found is not None
    assert found.is_relative_to(tmp_path / "imagine")
    assert found.stat().st_mode & 0o777 == 0o700
