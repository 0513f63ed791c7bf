"""The forecast body: what it is before training, what falls away, and what it is told of the data."""

import numpy as np
import pytest
import torch

from acclimate.errors import ModelError, RecipeError
from acclimate.initialization import ModelSpec
from acclimate.learners import LearnerConfig, build_learner, loss_for, units_of
from acclimate.models import build, calibrate, parameters_of
from acclimate.training.problem import open_problem
from acclimate.training.recipe import Recipe
from acclimate.training.shard import leaving_out


def body(channels=1, time=12, leads=3, targets=(0,), **options):
    torch.manual_seed(0)
    spec = ModelSpec("forecast", (channels, time), leads * len(targets), {"targets": targets, **options})
    return build(spec)


def moved(model):
    """The same network with a head and a linear part that are not zero, as after some training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("head", "linear")):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def windows(number=5, channels=1, time=12):
    return torch.randn(number, channels, time, generator=torch.Generator().manual_seed(2))


def test_before_training_it_forecasts_no_change() -> None:
    x = windows(channels=3)
    forecast = body(3, targets=(0, 2))(x)
    assert forecast.shape == (5, 6)
    last = x[:, [0, 2], -1]
    torch.testing.assert_close(forecast, torch.cat([last, last, last], 1))  # lead by lead, target by target


def test_a_louder_window_is_forecast_alike_in_its_own_units() -> None:
    model = moved(body())
    with torch.no_grad():
        model.floor.fill_(0.0)
        for part in (model.linear, model.body[0]):  # level and scale are inputs: without them nothing differs
            part.weight[:, 12:14] = 0.0
    x = windows()
    torch.testing.assert_close(model(7 + 100 * x), 7 + 100 * model(x), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(model.units(7 + 100 * x), 100 * model.units(x))


def test_a_window_that_stands_still_has_the_floor_as_its_unit() -> None:
    model = moved(body())
    still = torch.full((2, 1, 12), 3.0)
    calibrate(model, lambda: windows(200))
    usual = windows(200)[:, 0].std(1, correction=0).median()
    assert model.floor.item() == pytest.approx(0.1 * float(usual))
    torch.testing.assert_close(model.units(still), model.floor.expand(2, 3))
    assert bool(torch.isfinite(model(still)).all())
    calibrate(model, lambda: still)  # a fleet that stands still tells nothing
    assert model.floor.item() == pytest.approx(0.1 * float(usual))


def test_targets_are_forecast_from_their_own_windows() -> None:
    model = moved(body(2, targets=(0, 1), leads=1))
    x = windows(channels=2)
    swapped = model(x.flip(1)).flip(1)
    # one network serves both, so what differs is that it is told which target it is
    assert not torch.allclose(model(x), swapped)
    with torch.no_grad():
        for part in (model.linear, model.body[0]):
            part.weight[:, -2:] = 0.0
            part.weight[:, 14:-2] = 0.0
    torch.testing.assert_close(model(x), model(x.flip(1)).flip(1))


def test_the_calendar_and_other_channels_are_seen() -> None:
    model = moved(body(4, calendar=2))
    x = windows(channels=4)
    for channel, column, seen in ((1, -1, True), (2, -1, True), (3, -1, True), (2, 0, False)):
        other = x.clone()
        other[:, channel, column] += 1.0
        assert bool((model(other) != model(x)).any()) is seen, (channel, column)


def test_losses_count_in_the_units_of_the_window() -> None:
    """Against a loop: the loss of two tasks, one a hundred times as loud as the other."""
    model = moved(body())
    learner = build_learner(LearnerConfig(algorithm="joint"), model, loss_for("forecasting", "mae"))
    x = torch.stack([windows(4), 100 * windows(4)])
    y = x[..., 0, -3:] + torch.tensor([0.5, 50.0]).reshape(2, 1, 1)
    batch = (x, y, torch.ones(2, 4))
    params = parameters_of(model)
    _, figures = learner.meta_gradient(learner.init(params), batch, batch, 0)
    units = units_of(model)
    assert units is not None
    one_by_one = [((model(x[t]) - y[t]).abs() / units(params, x[t])).mean().item() for t in range(2)]
    assert float(figures["loss"]) == pytest.approx(sum(one_by_one), rel=1e-5)
    assert float(figures["mae"]) == pytest.approx(
        sum((model(x[t]) - y[t]).abs().mean().item() for t in range(2)), rel=1e-5
    )


def test_the_floor_is_measured_and_never_learned() -> None:
    model = moved(body())
    learner = build_learner(LearnerConfig(algorithm="joint"), model, loss_for("forecasting", "mae"))
    batch = (windows()[None], torch.zeros(1, 5, 3), torch.ones(1, 5))
    gradient, _ = learner.meta_gradient(learner.init(parameters_of(model)), batch, batch, 0)
    assert float(gradient["param.floor"]) == 0.0
    assert float(gradient["param.linear.weight"].abs().max()) > 0.0


def test_dropout_is_a_function_of_seed_step_and_shard() -> None:
    model = moved(body())
    x = windows()

    def trained(seed: int, step: int, index: int) -> np.ndarray:
        with leaving_out(model, seed, step, index):
            return model(x).detach().numpy()

    before = torch.get_rng_state()
    assert np.array_equal(trained(0, 1, 2), trained(0, 1, 2))
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers moved on"
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not np.array_equal(trained(0, 1, 2), trained(*other))
    assert torch.equal(model(x), model(x)), "a prediction leaves values out"


@pytest.mark.parametrize(
    ("shape", "outputs", "options", "says"),
    [
        ((5,), 1, {}, "windows of shape"),
        ((2, 8), 2, {"targets": (2,)}, "among `channels`"),
        ((2, 8), 2, {"targets": (1,), "calendar": 1}, "of 1 recorded channels"),
        ((2, 8), 3, {"targets": (0, 1)}, "no whole number of leads"),
        ((1, 8), 1, {"hidden": ()}, "name a layer"),
        ((1, 8), 1, {"activation": "step"}, "relu"),
    ],
)
def test_what_does_not_fit_is_said(shape, outputs, options, says) -> None:
    with pytest.raises(ModelError, match=says):
        build(ModelSpec("forecast", shape, outputs, options))


def test_a_target_without_a_past_is_refused_by_name(tmp_path, monkeypatch) -> None:
    import pandas as pd

    monkeypatch.setenv("ACCLIMATE_HOME", str(tmp_path / "home"))
    hours = np.arange(100.0)
    frame = pd.DataFrame({"d": np.repeat(["a", "b", "c"], 100), "x": np.tile(hours, 3)})
    frame.assign(y=frame.x % 7, t=np.tile(hours, 3)).to_parquet(tmp_path / "data.parquet")
    recordings = {
        "kind": "forecasting",
        "task": "d",
        "time": "t",
        "channels": ["x"],
        "targets": ["y"],
        "window": 8,
        "horizon": 1,
    }
    recipe = {"name": "r", "data": {"source": str(tmp_path / "data.parquet"), "recordings": recordings}}
    with pytest.raises(RecipeError, match="'y' is not among `channels`"):
        open_problem(Recipe.model_validate({**recipe, "model": {"name": "forecast"}}))
