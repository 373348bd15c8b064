"""The promotion gate on real backtests: who passes, who is kept back, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from panels import make_panel

from forecast.demand.panel import Panel
from forecast.errors import UsageError
from forecast.evaluation.backtest import BacktestReport, backtest
from forecast.evaluation.baselines import ForecastFunction, MovingAverage, SeasonalNaive
from forecast.evaluation.bootstrap import relative_difference
from forecast.forecasts import Forecasts
from forecast.promotion_settings import PromotionSettings
from training.gates.findings import Finding, GateReport
from training.gates.promotion import Cost, judge
from training.gates.promotion_accuracy import holm

HORIZON = 14
ORIGINS = (150, 164, 178)
SALES = tuple(range(40, 200, 14))
"""Days of the event: one within each horizon."""
LIFT = 5.0
COST = Cost(seconds_per_1000_series=20.0, bundle_bytes=5_000_000)
SETTINGS = PromotionSettings()


@dataclass(frozen=True)
class Knowing:
    """The moving average, lifted on event days as much as they bring; each part can be spoilt.

    lift: on event days. spread: of quantiles around the mean on other days. level: of other days.
    """

    lift: float = LIFT
    spread: float = 1.2
    level: float = 1.0
    seed: int = 0

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        sales_ST = np.arange(panel.n_periods) % 14 == SALES[0] % 14
        plain_ST = np.where(sales_ST[None, :], np.nan, panel.demand_ST).astype(np.float32)
        made = MovingAverage(n_scenarios=20, seed=self.seed)(replace(panel, demand_ST=plain_ST), horizon)
        ahead = slice(panel.n_periods, panel.n_periods + horizon)
        event_H = panel.events.intensity_GLE[0, ahead, 0] > 0
        mean_SH = made.mean_SH * np.where(event_H, self.lift, self.level)
        spread_H = np.where(event_H, self.lift**0.5, self.spread)
        off_SHQ = (made.quantiles_SHQ - made.mean_SH[:, :, None]) * spread_H[None, :, None]
        return replace(
            made,
            mean_SH=mean_SH.astype(np.float32),
            quantiles_SHQ=np.maximum(mean_SH[:, :, None] + off_SHQ, 0).astype(np.float32),
        )


def sales_panel(n_series: int = 120, seed: int = 0) -> Panel:
    """Series with a weekly rhythm, and a sale every second week that brings five times the demand."""
    random = np.random.default_rng(seed)
    rate_ST = random.uniform(4, 12, (n_series, 1)) * (1 + 0.5 * (np.arange(200) % 7 >= 5))
    rate_ST[:, SALES] *= LIFT
    return make_panel(
        random.poisson(rate_ST),
        events={"sale/day": list(SALES)},
        locations=[f"store{i % 30}" for i in range(n_series)],
    )


PANEL = sales_panel()


def report_of(
    challenger: ForecastFunction, champion: ForecastFunction, panel: Panel = PANEL
) -> BacktestReport:
    both: Mapping[str, ForecastFunction] = {
        "new": challenger,
        "champion": champion,
        "naive": SeasonalNaive(n_scenarios=20),
    }
    return backtest(panel, both, ORIGINS, HORIZON)


def judged(
    report: BacktestReport,
    *,
    champion: str | None = "champion",
    costs: Mapping[str, Cost] | None = None,
    settings: PromotionSettings = SETTINGS,
) -> GateReport:
    given = {"new": COST, "champion": COST} if costs is None else costs
    return judge(report, challenger="new", champion=champion, naive="naive", costs=given, settings=settings)


def wql(report: BacktestReport, forecaster: str) -> float:
    table = report.table()
    found = table.filter((table["slice"] == "all") & (table["forecaster"] == forecaster))["wql"]
    return float(found[0])


def finding(report: GateReport, check: str, subject: str = "all") -> Finding:
    (found,) = [one for one in report.findings if (one.check, one.subject) == (check, subject)]
    return found


@pytest.fixture(scope="module")
def equal() -> BacktestReport:
    return report_of(Knowing(seed=1), Knowing())


def test_a_fresh_model_that_is_as_good_as_the_champion_is_promoted(equal: BacktestReport) -> None:
    gate = judged(equal)
    assert gate.passed, [one.sentence() for one in gate.failures]
    assert finding(gate, "wql").found == "WQL +0.0 % (+0.0 to +0.0 %)"
    assert finding(gate, "peaks", "peak").passed
    assert {one.check for one in gate.findings} >= {"segment", "peaks", "coverage", "latency", "size", "bias"}


def test_a_better_model_is_promoted() -> None:
    gate = judged(report_of(Knowing(), Knowing(lift=3.0, level=1.1)))
    assert gate.passed, [one.sentence() for one in gate.failures]
    assert finding(gate, "peaks", "peak").value == pytest.approx(-0.6, abs=0.2)


def test_who_wins_on_average_and_loses_at_peaks_is_kept_back() -> None:
    report = report_of(Knowing(lift=4.3), Knowing(level=1.2))
    assert wql(report, "new") < wql(report, "champion")
    gate = judged(report)
    assert not gate.passed
    assert {one.check for one in gate.failures} == {"peaks"}
    assert {"peak", "event day", "event sale"} <= {one.subject for one in gate.failures}
    assert finding(gate, "wql").passed
    sentence = finding(gate, "peaks", "peak").sentence()
    assert sentence.startswith(
        "peaks, peak: expected not surely more than 2 % worse than champion, found WQL +"
    )


def test_a_segment_that_loses_keeps_back_whatever_the_others_gain() -> None:
    random = np.random.default_rng(3)
    slow_ST = (random.random((40, 200)) < 0.3) * 2.0
    panel = sales_panel(200)
    panel = make_panel(np.concatenate([panel.demand_ST, slow_ST]), events={"sale/day": list(SALES)})

    def worse_where_little_sells(known: Panel, horizon: int) -> Forecasts:
        made = Knowing()(known, horizon)
        seldom_S = known.demand_ST.mean(axis=1) < 1
        factor_S = np.where(seldom_S, 1.6, 1.0).astype(np.float32)
        return replace(made, quantiles_SHQ=made.quantiles_SHQ * factor_S[:, None, None])

    report = report_of(worse_where_little_sells, Knowing(level=1.1), panel)
    assert wql(report, "new") < wql(report, "champion")
    gate = judged(report)
    assert finding(gate, "wql").passed
    assert finding(gate, "segment", "fast").passed
    assert finding(gate, "segment", "slow") in gate.failures


def test_a_loss_on_average_keeps_back_where_the_data_can_tell() -> None:
    gate = judged(report_of(Knowing(spread=2.0), Knowing()))
    lost = finding(gate, "wql")
    assert not lost.passed
    assert lost.value is not None
    assert lost.value > SETTINGS.margin
    assert judged(report_of(Knowing(spread=1.25), Knowing())).passed


def test_data_that_cannot_tell_let_the_average_decide() -> None:
    panel = sales_panel(25, seed=4)
    settings = PromotionSettings(margin=0.001)
    for challenger, passed in ((Knowing(level=1.02), False), (Knowing(), True)):
        other = Knowing(level=0.98, lift=4.95) if passed else Knowing()
        gate = judged(report_of(challenger, other, panel), settings=settings)
        found = finding(gate, "wql")
        assert (
            found.expected == "not worse than champion on average, for 25 series cannot tell whether by 0.1 %"
        )
        assert found.passed == passed


def test_naive_must_be_beaten(equal: BacktestReport) -> None:
    naive = SeasonalNaive(n_scenarios=20)
    gate = judged(report_of(naive, naive))
    assert "naive" in {one.check for one in gate.failures}
    assert finding(judged(equal), "naive").passed


def test_without_a_champion_only_naive_is_asked(equal: BacktestReport) -> None:
    gate = judged(equal, champion=None, costs={})
    assert gate.passed
    assert {one.check for one in gate.findings if one.blocks} == {"naive"}
    gate = judged(report_of(Knowing(level=1.5), Knowing()), champion=None)
    assert gate.passed or {one.check for one in gate.failures} == {"naive"}
    assert "bias" in {one.check for one in gate.warnings}


def test_bias_is_held_against_its_limit_and_the_champion() -> None:
    biased = judged(report_of(Knowing(level=1.1), Knowing()))
    found = finding(biased, "bias")
    assert not found.passed
    assert found.limit == pytest.approx(0.03, abs=0.015)  # a step from the champion's, long before the limit
    less = finding(judged(report_of(Knowing(level=1.3), Knowing(level=1.4))), "bias")
    assert less.value is not None
    assert less.value > SETTINGS.bias_limit
    assert less.passed, "better than a champion that is beyond the limit itself"


def test_bands_that_are_too_narrow_keep_back() -> None:
    gate = judged(report_of(Knowing(spread=0.6), Knowing()))
    assert not finding(gate, "coverage", "80 % band").passed
    assert finding(gate, "coverage", "80 % band").blocks
    assert finding(gate, "coverage", "80 % band, sums by location").blocks
    assert not finding(gate, "coverage", "80 % band, sums by total").blocks, "one sum tells too little"


def test_costs_are_held_against_the_champions_and_limits_of_ones_own(equal: BacktestReport) -> None:
    slow = Cost(seconds_per_1000_series=70.0, bundle_bytes=16_000_000)
    gate = judged(equal, costs={"new": slow, "champion": COST})
    assert [one.check for one in gate.failures] == ["latency", "size"]
    assert finding(gate, "latency").sentence() == (
        "latency: expected at most 60 s for 1,000 series (champion: 20), found 70"
    )
    short = Cost(seconds_per_1000_series=8.0, bundle_bytes=5_000_000)
    quick = judged(equal, costs={"new": short, "champion": replace(short, seconds_per_1000_series=2.0)})
    assert quick.passed, "120 series in less than a second"
    assert not finding(quick, "latency").passed
    strict = PromotionSettings(seconds_per_1000_series=1.0, bundle_mb=4.0)
    assert [one.check for one in judged(equal, settings=strict).failures] == ["latency", "size"]
    unknown = judged(equal, costs={})
    assert unknown.passed
    assert {one.check for one in unknown.warnings} >= {"latency", "size"}


def test_too_few_series_are_a_warning() -> None:
    panel = sales_panel(12, seed=7)
    gate = judged(report_of(Knowing(lift=2.0), Knowing(level=1.3, spread=1.5), panel))
    found = finding(gate, "peaks", "peak")
    assert (found.passed, found.blocks) == (False, False)
    assert found.sentence() == (
        "peaks, peak: expected at least 20 series that sell, found 12 series, which is too few to judge"
    )
    assert finding(gate, "segment", "slow").found == "none"
    assert "peaks" not in {one.check for one in gate.failures}


def test_forecasts_that_are_no_numbers_are_kept_back() -> None:
    def broken(known: Panel, horizon: int) -> Forecasts:
        made = Knowing()(known, horizon)
        mean_SH = np.where(np.arange(known.n_series)[:, None] == 0, np.nan, made.mean_SH).astype(np.float32)
        return replace(
            made, mean_SH=mean_SH, quantiles_SHQ=made.quantiles_SHQ * (mean_SH / mean_SH)[:, :, None]
        )

    failed = {one.check for one in judged(report_of(broken, Knowing())).failures}
    assert {"wql", "naive", "bias", "segment"} <= failed


def test_a_name_that_was_not_backtested_is_refused(equal: BacktestReport) -> None:
    with pytest.raises(UsageError, match="forecaster: expected one of new, champion, naive, found rival"):
        judged(equal, champion="rival")


def test_equal_models_are_hardly_ever_kept_back_by_chance() -> None:
    """Forecasts of the same quality that err elsewhere, held against each other on their own noise."""
    kept = 0
    for seed in range(20):
        random = np.random.default_rng(seed)

        def noisy(known: Panel, horizon: int, random: np.random.Generator = random) -> Forecasts:
            made = Knowing()(known, horizon)
            factor_SH = np.exp(random.normal(0, 0.05, made.mean_SH.shape)).astype(np.float32)
            return replace(
                made,
                mean_SH=made.mean_SH * factor_SH,
                quantiles_SHQ=made.quantiles_SHQ * factor_SH[:, :, None],
            )

        gate = judged(report_of(noisy, noisy))
        kept += any(one.check in ("segment", "peaks") for one in gate.failures)
    assert kept <= 2


def test_holm_rejects_step_by_step() -> None:
    assert holm([0.001, 0.2, 0.02, 0.03], 0.05) == [True, False, False, False]
    assert holm([0.001, 0.6, 0.012, 0.024], 0.05) == [True, False, True, True]
    assert holm([], 0.05) == []


def test_relative_differences_have_the_interval_of_the_ratio() -> None:
    random = np.random.default_rng(0)
    other_S = random.gamma(2, 2, 400)
    found = relative_difference(1.1 * other_S * random.uniform(0.9, 1.1, 400), other_S, margin=0.05)
    assert found.interval.low < found.interval.estimate < found.interval.high
    assert found.interval.estimate == pytest.approx(0.1, abs=0.01)
    assert found.p_worse == pytest.approx(1 / 1001)
    nothing = relative_difference(np.zeros(5), np.zeros(5))
    assert (nothing.n_series, nothing.p_worse) == (0, 1.0)
    assert relative_difference(np.ones(5), np.zeros(5)).interval.estimate == np.inf
