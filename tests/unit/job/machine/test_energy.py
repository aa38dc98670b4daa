"""What the machine's counters say of a job."""

import pytest

from atlas.job.machine import energy


def zone(folder, number: str, name: str, used: int | str, most: int = 10_000_000):
    place = folder / f"intel-rapl:{number}"
    place.mkdir(exist_ok=True)
    for file, value in (("name", name), ("energy_uj", used), ("max_energy_range_uj", most)):
        (place / file).write_text(f"{value}\n")
    return place


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(energy, "NVML", "no-such-library.so")


def test_packages_are_counted_and_zones_within_them_are_not(tmp_path):
    zone(tmp_path, "0", "package-0", 1_000_000)
    zone(tmp_path, "0:0", "core", 500_000)
    zone(tmp_path, "1", "package-1", 9_000_000)
    meter = energy.Meter(tmp_path)
    zone(tmp_path, "0", "package-0", 3_500_000)
    zone(tmp_path, "0:0", "core", 2_000_000)
    zone(tmp_path, "1", "package-1", 500_000)  # it began anew at 10 J
    assert meter.joules() == {"package-0": 2.5, "package-1": 1.5}


def test_a_machine_that_measures_nothing_says_nothing(tmp_path):
    assert energy.Meter(tmp_path / "none").joules() == {}
    zone(tmp_path, "0", "package-0", "no number")
    assert energy.Meter(tmp_path).joules() == {}


def test_a_counter_that_cannot_be_read_afterwards_is_left_out(tmp_path):
    place = zone(tmp_path, "0", "package-0", 1_000_000)
    meter = energy.Meter(tmp_path)
    (place / "energy_uj").unlink()
    assert meter.joules() == {}
