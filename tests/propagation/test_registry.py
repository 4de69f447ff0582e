from __future__ import annotations

import pytest

from imagine_cli import InputError
from imagine_cli.propagation import fitting, make_propagation
from imagine_cli.propagation.particles import Particles
from imagine_cli.propagation.unscented import Unscented
from imagine_cli.registry import PROPAGATIONS
from tests.helpers.ensembles import random_ensemble
from tests.helpers.linear_systems import linear_model
from tests.helpers.worlds import small_gp


def test_every_name_makes_what_says_it_is() -> None:
    gp = small_gp(2, 1)
    assert fitting(gp) == ["moments", "linearized", "unscented", "particles"]
    assert set(PROPAGATIONS) == {*fitting(gp), "module"}
    for name in fitting(gp):
        way = make_propagation(name, gp)
        assert way.name == name
        assert way.description.startswith(name)
        assert make_propagation(way, gp) == way
    assert make_propagation(None, gp).name == gp.propagation == "moments"


def test_the_description_says_every_parameter() -> None:
    model = linear_model(2, 1)
    assert make_propagation("particles", model, particles=7).description == "particles(particles=7)"
    resampled = make_propagation("particles", model, particles=7, resample=True)
    assert resampled.description == "particles(particles=7, resample)"
    found = Unscented(alpha=0.5, beta=2).description
    assert found == "unscented(alpha=0.5, beta=2, kappa=max(3-E,0))"


def test_what_cannot_be_is_refused() -> None:
    gp = small_gp(2, 1)
    with pytest.raises(InputError, match="no propagation 'magic'; there is moments, linearized"):
        make_propagation("magic", gp)
    with pytest.raises(InputError, match="particles belongs to another propagation than 'moments'"):
        make_propagation(None, gp, particles=10)
    with pytest.raises(InputError, match="1 particles have no covariance"):
        make_propagation("particles", gp, particles=1)
    with pytest.raises(InputError, match="is not random or fixed"):
        make_propagation("particles", gp, members="some")
    with pytest.raises(InputError, match="leave out --members fixed"):
        Particles(members="fixed", resample=True)
    with pytest.raises(InputError, match="is for an ensemble"):
        make_propagation("particles", linear_model(2, 1), members="random")
    with pytest.raises(InputError, match="alpha above 0"):
        Unscented(alpha=0.0)
    misfit = "'moments' does not fit .* 'ensemble'; use linearized, unscented, particles$"
    with pytest.raises(InputError, match=misfit):
        make_propagation("moments", random_ensemble(2, 1))
