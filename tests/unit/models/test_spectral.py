"""The front end against numpy's Fourier transform, and against what it promises to see and not to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.errors import ModelError
from acclimate.initialization import ModelSpec
from acclimate.models import build, calibrate
from acclimate.models.spectral import Power, SpectralFront


@given(samples=st.integers(8, 600), seed=st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_power_is_that_of_numpy_s_transform_for_any_length(samples, seed):
    window = np.random.default_rng(seed).normal(size=(2, samples)).astype(np.float32)
    power = Power(samples)
    padded = np.pad(window.astype(np.float64), ((0, 0), (0, power.padded - samples)))
    expected = np.abs(np.fft.rfft(padded)) ** 2 / samples
    assert samples <= power.padded < 1.3 * samples + 8
    np.testing.assert_allclose(power(torch.from_numpy(window)), expected[:, 1:], rtol=1e-3, atol=1e-5)


def test_long_windows_are_not_padded_and_stay_exact_in_float32():
    window = np.random.default_rng(0).normal(size=(1, 2048)).astype(np.float32)
    power = Power(2048)
    assert power.padded == 2048
    expected = np.abs(np.fft.rfft(window.astype(np.float64))) ** 2 / 2048
    np.testing.assert_allclose(power(torch.from_numpy(window)), expected[:, 1:], atol=1e-5)


def tone(frequency: float, samples: int = 256, phase: float = 0.0, noise: float = 0.05) -> torch.Tensor:
    time = torch.arange(samples) / samples
    random = torch.randn(samples, generator=torch.Generator().manual_seed(1))
    return (torch.sin(2 * torch.pi * (frequency * time + phase)) + noise * random)[None, None]


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_gain_and_offset_fall_away_unless_level_is_asked_for(offset):
    plain, level = (SpectralFront(1, 256, 32, 16, each) for each in (False, True))
    x = tone(20)
    torch.testing.assert_close(plain(x), plain(0.01 * x + offset), atol=0.05, rtol=0)
    changed = (level(x) - level(0.01 * x + offset)).detach().abs()[0]
    assert changed[:48].max() < 0.05
    assert changed[48] == pytest.approx(abs(0.99 * float(x.mean()) - offset), abs=1e-3)
    assert changed[49] == pytest.approx(np.log(100), abs=0.05)


def test_a_tone_lights_its_band_whatever_its_phase():
    front = SpectralFront(1, 256, 32, 0, False)  # bands of 4 bins, from bin 1
    for phase in (0.0, 0.3):
        features = front(tone(22, phase=phase)).detach()[0]
        assert int(features.argmax()) == (22 - 1) // 4
        assert features.topk(2).values.diff().abs() > 3


def test_the_envelope_shows_how_often_a_hidden_ringing_is_struck():
    time = torch.arange(1024)
    struck = torch.zeros(1024)
    for start in range(0, 1024, 64):  # 16 times a window, ringing far above
        after = (time - start).clamp_min(0)
        struck += torch.where(time >= start, torch.exp(-after / 8) * torch.sin(1.2 * after), 0)
    front = SpectralFront(1, 1024, 64, 40, False)
    envelope = front(struck[None, None]).detach()[0, 64:]
    assert int(envelope.argmax()) == 16 - 1


def test_calibrated_features_are_centred_and_the_same_again():
    torch.manual_seed(0)
    windows = torch.randn(200, 2, 64).cumsum(-1)
    model = build(ModelSpec("spectral", (2, 64), 3, {"level": True}))
    calibrate(model, lambda: windows)
    features = model.body.front(windows).detach()
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-3)
    assert features.std(0).median() == pytest.approx(1, abs=1e-3)
    calibrate(model, lambda: windows)
    torch.testing.assert_close(model.body.front(windows), features)


def test_silent_clipped_and_huge_windows_give_finite_features():
    front = SpectralFront(1, 128, 32, 16, True)
    ramp = torch.arange(128.0)[None, None]
    for window in (torch.zeros(1, 1, 128), torch.full((1, 1, 128), 1e6), ramp * 1e9, ramp * 1e-9):
        assert front(window).isfinite().all()


@pytest.mark.parametrize("channels", [1, 3, 6, 19, 300])
def test_the_features_of_many_channels_stay_few(channels):
    model = build(ModelSpec("spectral", (channels, 500), 4))
    assert model.body.front.features <= max(200, 6 * channels)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((16,), {}, "windows of shape"),
        ((1, 7), {}, "at least 8 samples"),
        ((1, 64), {"bands": 33}, "bands is 33; windows of 64 samples have 32 bins"),
        ((1, 64), {"envelope": -1}, "envelope is -1"),
        ((1, 64), {"activation": "gelu"}, "there are relu, silu, tanh"),
        ((1, 64), {"band": 3}, "did you mean 'bands'"),
    ],
)
def test_what_does_not_fit_is_said(shape, options, message):
    with pytest.raises(ModelError, match=message):
        build(ModelSpec("spectral", shape, 2, options))
