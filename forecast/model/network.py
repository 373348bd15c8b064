"""The network: one causal pass over a window gives the forecasts of all its origins (forking sequences,
MQ-CNN, arXiv 1711.11053).

Letters: B windows, W patches, p periods of a patch, O origins, H horizon, D periods of a window with its
last horizon, C channels, X hidden units, Q quantile levels, F features, E event channels, L calendar
periods, G event groups, N statics.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forecast.model import groups
from forecast.model.config import DILATIONS, REACH, ModelConfig
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import PanelTensors
from forecast.model.windows import SPANS, Windows
from forecast.quantiles import LEVELS

POSITION_SPANS = (1, 4, 8, 26)
"""Patches over which demand at one place of the patch (a weekday, an hour) is averaged."""

TAPS = 3
"""Of a convolution of the encoder."""
PAST = 16
"""Width of what is known of a past period."""
WEEKS = 4
"""Past weeks whose same weekday is averaged, where a week has several patches."""


class Distribution(NamedTuple):
    """Forecast distributions at (B, O, H): mean in units, and quantiles (…, Q) in units, unclamped below zero
    in training."""

    mean_BOH: Tensor
    quantiles_BOHQ: Tensor
    scale_BO: Tensor


class Known(NamedTuple):
    """What is known of each period: shared by the series of an event group, and a series' own.

    group_B: which row of `shared_GDC` a window has; None where every window, with an end of its own, has one.
    """

    shared_GDC: Tensor
    group_B: Tensor | None
    series_BDF: Tensor


class CausalBlock(nn.Module):
    """Residual causal convolution over patches.

    `forward` answers for every patch. `thin` answers for every second patch of a sequence that ends at the
    origin: the dilations double from block to block, so the last output of all blocks needs no others, and
    the patches that it does need lie side by side once those between them are gone.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(TAPS * channels, channels)

    def forward(self, x_BWC: Tensor) -> Tensor:
        """Each patch sees itself and the patches before it."""
        w, d = x_BWC.shape[1], self.dilation
        y_BWC = F.pad(self.norm(x_BWC), (0, 0, (TAPS - 1) * d, 0))
        return x_BWC + self._mix([y_BWC[:, tap * d : tap * d + w] for tap in range(TAPS)])

    def thin(self, x_BWC: Tensor) -> Tensor:
        """(B, (W - 1) / 2, C) of the third patch, the fifth ... the last, W odd; the neighbours given are
        those that the dilation would reach."""
        y_BWC = self.norm(x_BWC)
        return x_BWC[:, 2::2] + self._mix([y_BWC[:, :-2:2], y_BWC[:, 1::2], y_BWC[:, 2::2]])

    def _mix(self, taps: list[Tensor]) -> Tensor:
        """The convolution as one product: channels stay the last dimension, which all else works along."""
        return F.silu(self.mix(torch.cat(taps, dim=2)))


class SurgeNet(nn.Module):
    """Encoder of patches, shared event response, and a decoder whose first layer is a sum of parts.

    The decoder's first layer adds four projections, each computed as seldom as it can be: of the target
    period (once a period), of the origin (once an origin), of the place in the patch (p an origin) and of
    the step ahead (once). It costs little beside the layers that follow.
    """

    def __init__(self, config: ModelConfig, schema: FeatureSchema) -> None:
        super().__init__()
        self.config = config
        c, x, p = config.channels, config.hidden, config.patch
        n_events = max(len(schema.events), 1)
        self.event_kernel = nn.Conv1d(n_events, config.event_channels, 2 * config.event_reach + 1)
        nn.init.normal_(self.event_kernel.weight, std=0.02)
        widths = [min(config.static_dim, 2 + len(s.labels) // 2) for s in schema.statics]
        tables = zip(schema.statics, widths, strict=True)
        self.embeddings = nn.ModuleList(nn.Embedding(len(s.labels) + 1, width) for s, width in tables)
        known_width = _calendar_width(config) + config.event_channels + len(schema.known) + 4
        self.ahead_in = nn.Linear(known_width, x)
        self.past_in = nn.Linear(known_width, PAST)
        self.patch_in = nn.Linear(p * (PAST + 5) + 2, c)
        self.blocks = nn.ModuleList(CausalBlock(c, d) for d in DILATIONS)
        n_prices = sum(feature.relative for feature in schema.known)
        self.static_in = nn.Linear(max(sum(widths) + n_prices, 1), c)
        origin_width = 2 * c + len(SPANS) + 2 * len(POSITION_SPANS) + 3 + len(groups.FEATURED) * groups.WIDTH
        self.origin_in = nn.Linear(origin_width, x)
        self.place_in = nn.Linear(len(POSITION_SPANS) + (config.week > 1), x, bias=False)
        self.step_in = nn.Parameter(torch.randn(config.horizon, x) * 0.02)
        self.middle = nn.ModuleList([nn.Linear(x, x), nn.Linear(x, x)])
        self.out = nn.Linear(x, 1 + len(LEVELS))
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():
            self.out.bias.copy_(torch.tensor([0.0, -0.5] + [-2.0] * (len(LEVELS) - 1)))

    def forward(
        self, tensors: PanelTensors, windows: Windows, n_origins: int, ahead: slice | None = None
    ) -> Distribution:
        """Forecast from the last `n_origins` patch ends of each window, all steps of the horizon or those
        `ahead`."""
        ahead = ahead or slice(0, self.config.horizon)
        # 1. What is known of each period, past or ahead: calendar, events, known features, its analog.
        known = self._known(tensors, windows)
        # 2. What is known of the past: patches of scaled demand in their circumstances, one causal pass.
        scale_BW = windows.scale_BW
        context_BOC = self._encode(windows, known, n_origins)
        # 3. Each origin: its context, its statics, its levels.
        origin_BOX = self._origin(windows, context_BOC)
        # 4. Each step ahead of each origin.
        hidden_BOHX = self._first_layer(windows, known, origin_BOX, ahead)
        for layer in self.middle:
            hidden_BOHX = hidden_BOHX + F.silu(layer(hidden_BOHX))
        with torch.autocast(hidden_BOHX.device.type, enabled=False):  # a logarithm needs its digits
            out = self.out(hidden_BOHX.float())
        # 5. Mean and quantiles in units of the trailing level.
        scale_BO = scale_BW[:, -n_origins:]
        mean_BOH = scale_BO[:, :, None] * torch.exp(out[..., 0].clamp(-6, 4))
        quantiles = torch.cat([out[..., 1:2], F.softplus(out[..., 2:])], dim=-1).cumsum(-1)
        return Distribution(mean_BOH, scale_BO[:, :, None, None] * quantiles, scale_BO)

    def _known(self, tensors: PanelTensors, windows: Windows) -> Known:
        """Calendar waves, the learned response around events, features of the series, and what the analog
        period did to it and to its unions."""
        reach = self.config.event_reach
        events_GEL = F.pad(tensors.events_GLE.transpose(1, 2), (reach, reach))
        if events_GEL.shape[1] == 0:
            events_GEL = F.pad(events_GEL, (0, 0, 0, 1))
        response_GLE = torch.tanh(self.event_kernel(events_GEL)).transpose(1, 2)
        series_BDF = torch.cat(
            [
                windows.known_BDF,
                windows.analog_lift_BDU,
                (windows.analog_level_BD * windows.analog_seen_BD)[:, :, None],
                windows.analog_seen_BD[:, :, None],
            ],
            dim=2,
        )
        if len(windows.period_BD) == 1:
            period_D = windows.period_BD[0]
            calendar_GDC = tensors.calendar_LC[period_D].expand(len(response_GLE), -1, -1)
            shared_GDC = torch.cat([calendar_GDC, response_GLE[:, period_D]], dim=2)
            return Known(shared_GDC, windows.group_B, series_BDF)
        place_BD = windows.group_B[:, None] * response_GLE.shape[1] + windows.period_BD
        # A look-up's gradient is summed in one order on any number of threads; an index's is not.
        # Nor is it summed in the lower precision that training may multiply in.
        response_BDE = F.embedding(place_BD, response_GLE.flatten(0, 1).float())
        return Known(
            torch.cat([tensors.calendar_LC[windows.period_BD], response_BDE], dim=2), None, series_BDF
        )

    def _encode(self, windows: Windows, known: Known, n_origins: int) -> Tensor:
        """(B, O, C) contexts of the last patches."""
        p, scale_BW = self.config.patch, windows.scale_BW
        w = REACH if n_origins == 1 else scale_BW.shape[1]
        first = scale_BW.shape[1] - w
        past = slice(first * p, (first + w) * p)
        demand_BWp = windows.demand_BD[:, past].unflatten(1, (w, p))
        observed_BWp = windows.observed_BD[:, past].unflatten(1, (w, p))
        ratio_BWp = demand_BWp / scale_BW[:, first:, None]
        parts = [
            torch.log1p(ratio_BWp) * observed_BWp,
            (ratio_BWp.clamp(max=8.0) / 4) * observed_BWp,
            observed_BWp,
            windows.past_lift_BDU[:, past].unflatten(1, (w, p)).flatten(2),
            F.silu(_project(self.past_in, known, past)).unflatten(1, (w, p)).flatten(2),
            torch.log(scale_BW)[:, first:, None] / 3,
            F.pad(torch.log(scale_BW).diff(dim=1), (1, 0))[:, first:, None] * 5,
        ]
        x_BWC: Tensor = self.patch_in(torch.cat(parts, dim=2))
        for block in self.blocks:
            assert isinstance(block, CausalBlock)
            x_BWC = block.thin(x_BWC) if n_origins == 1 else block(x_BWC)
        return x_BWC[:, -n_origins:]

    def _origin(self, windows: Windows, context_BOC: Tensor) -> Tensor:
        static = [self._embed(e, windows.codes_BN[:, n]) for n, e in enumerate(self.embeddings)]
        if windows.price_level_BA.shape[1]:
            static.append(windows.price_level_BA)
        n_origins = context_BOC.shape[1]
        parts = [
            F.silu(context_BOC),
            windows.means_BWM[:, -n_origins:],
            windows.group_BOM,
            _spread(windows, self.config, n_origins),
            torch.log(windows.scale_BW)[:, -n_origins:, None] / 3,
            windows.age_BW[:, -n_origins:, None] / 3,
            (windows.age_BW[:, -n_origins:, None] < 3).float(),
            F.silu(self.static_in(torch.cat(static, dim=1)))[:, None, :].expand(-1, n_origins, -1)
            if static
            else torch.zeros_like(context_BOC),
        ]
        projected: Tensor = self.origin_in(torch.cat(parts, dim=2))
        return projected

    def _embed(self, table: nn.Module, codes_B: Tensor) -> Tensor:
        """Embeddings; in training some labels are hidden, so that the row of the unknown label learns the
        average."""
        if self.training:
            codes_B = codes_B * (
                torch.rand(codes_B.shape, device=codes_B.device) >= self.config.label_dropout
            )
        embedded: Tensor = table(codes_B)
        return embedded

    def _first_layer(self, windows: Windows, known: Known, origin_BOX: Tensor, ahead: slice) -> Tensor:
        p, n, n_origins = self.config.patch, ahead.stop - ahead.start, origin_BOX.shape[1]
        first = self.config.context * p + ahead.start
        # Only the periods that some origin looks at, all in the precision that the layers multiply in:
        # these are the largest tensors of a step.
        target_BDX = _project(self.ahead_in, known, slice(first, first + (n_origins - 1) * p + n))
        target_BOHX = target_BDX.unfold(1, n, p).transpose(2, 3)
        place_BOHX = self.place_in(_place_means(windows, self.config, n_origins)[:, :, ahead])
        step_HX = self.step_in[ahead].to(origin_BOX.dtype)
        return F.silu(target_BOHX + place_BOHX + (origin_BOX[:, :, None] + step_HX))


def _project(layer: nn.Module, known: Known, periods: slice) -> Tensor:
    """(B, D, X) a linear layer over what is known of some periods; what series share is multiplied once."""
    assert isinstance(layer, nn.Linear)
    if known.group_B is None:
        return F.linear(
            torch.cat([known.shared_GDC[:, periods], known.series_BDF[:, periods]], dim=2),
            layer.weight,
            layer.bias,
        )
    n_shared = known.shared_GDC.shape[2]
    shared_GDX = F.linear(known.shared_GDC[:, periods], layer.weight[:, :n_shared], layer.bias)
    own_BDX = F.linear(known.series_BDF[:, periods], layer.weight[:, n_shared:])
    return own_BDX + (shared_GDX if len(shared_GDX) == 1 else shared_GDX[known.group_B])


def _calendar_width(config: ModelConfig) -> int:
    return {"hour": 8 + 7 + 6 + 24, "day": 8 + 7 + 6, "week": 12}[config.period]


def _place_means(windows: Windows, config: ModelConfig, n_origins: int) -> Tensor:
    """(B, O, H, M) log ratios to the scale of demand at each step's place of the patch, averaged over past
    patches.

    Over the last patches, and where a week has several patches (hours) over the same weekday of the last
    weeks.
    """
    p, w, h = config.patch, windows.scale_BW.shape[1], config.horizon
    observed_BWp = windows.observed_BD[:, : w * p].unflatten(1, (w, p))
    demand_BWp = windows.demand_BD[:, : w * p].unflatten(1, (w, p)) * observed_BWp
    total_BWp = F.pad(demand_BWp.cumsum(1), (0, 0, 1, 0))
    count_BWp = F.pad(observed_BWp.cumsum(1), (0, 0, 1, 0))
    scale_BO1 = windows.scale_BW[:, -n_origins:, None]
    ahead = -(-h // p)
    last = torch.arange(w - n_origins + 1, w + 1, device=demand_BWp.device)
    features = []
    for span in POSITION_SPANS:
        first = (last - span).clamp(min=0)
        total_BOp = total_BWp[:, last] - total_BWp[:, first]
        count_BOp = count_BWp[:, last] - count_BWp[:, first]
        features.append(_log_ratio(total_BOp, count_BOp, scale_BO1).repeat(1, 1, ahead))
    if config.week > 1:
        parts = []
        for k in range(ahead):
            same = [last + k - config.week * (k // config.week + m) for m in range(1, WEEKS + 1)]
            total_BOp = torch.stack([demand_BWp[:, i.clamp(min=0)] * (i >= 0)[:, None] for i in same]).sum(0)
            count_BOp = torch.stack([observed_BWp[:, i.clamp(min=0)] * (i >= 0)[:, None] for i in same]).sum(
                0
            )
            parts.append(_log_ratio(total_BOp, count_BOp, scale_BO1))
        features.append(torch.cat(parts, dim=2))
    return torch.stack([feature[:, :, :h] for feature in features], dim=3)


def _spread(windows: Windows, config: ModelConfig, n_origins: int) -> Tensor:
    """(B, O, 2 M) how often something was wanted and how unevenly, over the patches before each origin."""
    p, w = config.patch, windows.scale_BW.shape[1]
    observed_BD = windows.observed_BD[:, : w * p]
    demand_BD = windows.demand_BD[:, : w * p] * observed_BD
    patches = [
        x.unflatten(1, (w, p)).sum(2) for x in (observed_BD, (demand_BD > 0).float(), demand_BD.square())
    ]
    count_BW, wanted_BW, square_BW = (F.pad(x.cumsum(1), (1, 0)) for x in patches)
    last = torch.arange(w - n_origins + 1, w + 1, device=demand_BD.device)
    scale_BO = windows.scale_BW[:, -n_origins:]
    features = []
    for span in POSITION_SPANS:
        first = (last - span).clamp(min=0)
        count_BO = (count_BW[:, last] - count_BW[:, first]).clamp(min=1)
        features.append((wanted_BW[:, last] - wanted_BW[:, first]) / count_BO)
        square_BO = (square_BW[:, last] - square_BW[:, first]).clamp(min=0) / count_BO
        features.append(torch.log((square_BO + 0.1 * scale_BO**2) / (1.1 * scale_BO**2)) / 2)
    return torch.stack(features, dim=2)


def _log_ratio(total: Tensor, count: Tensor, scale: Tensor) -> Tensor:
    """Log of a mean over the scale, drawn towards 0 where few periods were observed or little was sold."""
    mean = (total + 0.5 * scale) / (count + 0.5)
    return torch.log((mean + 0.05 * scale) / (1.05 * scale))
