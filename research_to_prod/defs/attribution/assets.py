"""What each parent order cost, what the market did after each fill, and live against model."""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.attribution.desk_day import DAY_BEFORE, read_before, read_desk_day
from research_to_prod.defs.attribution.pictures import (
    costs_picture,
    markouts_picture,
    modes_picture,
    underwater_picture,
    verdicts_picture,
    waterfall_picture,
)
from research_to_prod.defs.attribution.records import TWO_DAYS, read_records
from research_to_prod.defs.partitions import DAYS
from research_to_prod.defs.publishing import publish, table_preview
from research_to_prod.defs.tables import described
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

_LEGS = {"before_sending": "#6d7fb3", "on_the_way": "#d9a441"}


@dg.asset(
    deps=[
        dg.AssetDep(name, partition_mapping=TWO_DAYS) for name in ("decisions", "orders", "fills", "quotes", "trades")
    ],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="2",
    metadata=described("slippage"),
)
def slippage(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult:
    """The implementation shortfall of each parent order by component: delay, timing, spread, impact, fees, opportunity.

    - **A row** is one order that ended on the day, so that orders worked over midnight are whole. Cost is positive, in
      quote currency, and the components add up to Perold's total to 1e-9.
    - **It is for** knowing which part of execution to change, and for the gates, which hold it against the model's
      cost.
    - **It breaks** when the day's decisions, orders, fills or quotes are not delivered. An order whose quotes are
      missing or too old is excluded with a reason, never counted as free.

    Beside the costs stand VWAP, TWAP, close, participation-weighted price and our own share of the volume, where public
    trades were recorded.
    """
    from research_to_prod.attribution.parent_orders import slippage_of_orders
    from research_to_prod.reports.cost_figure import COMPONENT_COLOURS

    day = context.partition_key
    records = read_records(lake, day, "decisions", "orders", "fills", "trades")
    decisions, orders, fills, trades = records.tables
    rows = slippage_of_orders(day, decisions, orders, fills, records.quotes, trades)
    counted = rows.filter(rows["excluded_reason"].is_null())
    return publish(
        lake,
        "slippage",
        day,
        rows,
        read=records.read,
        orders=rows.num_rows,
        excluded=rows.num_rows - counted.num_rows,
        with_a_vwap=rows.num_rows - rows["interval_vwap"].null_count,
        total_cost=float(sum(counted["total"].to_pylist())),
        **costs_picture(rows, COMPONENT_COLOURS, "what orders cost, by component"),
    )


@dg.asset(
    deps=[
        "slippage",
        *(dg.AssetDep(name, partition_mapping=TWO_DAYS) for name in ("decisions", "orders", "order_events", "quotes")),
    ],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("latency_costs"),
)
def latency_costs(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult:
    """How long each parent order took from its decision to live, and what the price did meanwhile.

    - **A row** is one order: the delay of slippage, split at the moment of sending into what the desk's own systems
      cost and what the way to the venue did.
    - **It is for** telling slow code from a slow line. The way back is told by the order events, where the desk
      delivers them.
    - **It breaks** when slippage of the day is not made; an order without the times or quotes is excluded with a
      reason.
    """
    from research_to_prod.attribution.latency import costs_by_bucket, latency_of_orders

    day = context.partition_key
    records = read_records(lake, day, "decisions", "orders", "order_events")
    decisions, orders, events = records.tables
    slippage = lake.read("slippage", day)
    rows = latency_of_orders(slippage.rows, decisions, orders, events, records.quotes)
    return publish(
        lake,
        "latency_costs",
        day,
        rows,
        read=(slippage, *records.read),
        orders=rows.num_rows,
        excluded=rows.num_rows - rows["excluded_reason"].null_count,
        by_strategy=table_preview(costs_by_bucket(rows)),
        **costs_picture(rows, _LEGS, "what waiting cost, before sending and on the way"),
    )


@dg.asset(
    deps=[dg.AssetDep(name, partition_mapping=TWO_DAYS) for name in ("orders", "fills", "quotes")],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("markouts"),
)
def markouts(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult:
    """What the market did 1 s to 30 min after each fill: spread captured, adverse selection, what is left after fees.

    - **A row** is a fill and a horizon. A fill belongs to the day in which its half hour ended, so that each day is
      whole when it is made.
    - **It is for** telling a fair spread from fills that somebody better informed gave us. The curve shows means in
      basis points, weighted by the root of value, with 95 % intervals that count the fills of one parent order as one
      observation; the table beside it how likely a resting order was filled in time.
    - **It breaks** when fills, orders or quotes are not delivered. A markout without a quote is excluded with a reason.
    """
    from research_to_prod.attribution.fill_probability import kaplan_meier, resting_orders
    from research_to_prod.attribution.markouts import maker_toxicity, markout_curve, markouts_of_fills

    day = context.partition_key
    records = read_records(lake, day, "orders", "fills")
    orders, fills = records.tables
    rows = markouts_of_fills(day, fills, records.quotes)
    curve = markout_curve(rows)
    return publish(
        lake,
        "markouts",
        day,
        rows,
        read=records.read,
        **markouts_picture(curve),
        markout_curve=table_preview(curve),
        maker_toxicity=table_preview(maker_toxicity(rows)),
        fill_probability=table_preview(kaplan_meier(*resting_orders(orders, fills)).table),
    )


@dg.asset(
    deps=[
        "decisions",
        "orders",
        "fills",
        "quotes",
        "positions",
        dg.AssetDep("shadow", partition_mapping=DAY_BEFORE),
        *(
            dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
            for name in ("candidate", "backtest", "candles", "funding_rates")
        ),
    ],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("shadow"),
)
def shadow(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """What each strategy's model would have earned on the day, beside what the strategy earned.

    - **A row** is one strategy in one market that it holds. The model trades what was ordered, whole, at the mid of its
      decision and at the charges of its candidate; live trades its fills; both are marked to the same mids.
    - **It is for** every comparison of live against model: waterfall, verdicts, drawdowns, rollback.
    - **It breaks** when the desk's day is not delivered. A strategy without a candidate has no model, and its row says
      so.

    Decisions are held against the model run again on the stored bars.
    """
    from research_to_prod.attribution.shadow_days import shadow_of_day
    from research_to_prod.defs.attribution.models import read_funding, read_models

    day = context.partition_key
    desk, read = read_desk_day(lake, day)
    places = desk.openings()
    models = read_models(lake, settings, {each.strategy for each in places}, day)
    funding, paid = read_funding(lake, {(each.venue, each.symbol) for each in places}, day)
    rows = shadow_of_day(desk, models.by_strategy, funding)
    return publish(
        lake,
        "shadow",
        day,
        rows,
        read=(*read, *models.read, *paid),
        markets=rows.num_rows,
        with_a_model=rows.num_rows - rows["shadow"].null_count,
        signals_compared=sum(rows["signals"].to_pylist()),
        signals_diverging=sum(map(len, rows["diverging"].to_pylist())),
        live=float(sum(each or 0 for each in rows["live"].to_pylist())),
        excluded=table_preview(rows.filter(rows["excluded_reason"].is_valid()).select(["strategy", "excluded_reason"])),
    )


@dg.asset(
    deps=["decisions", "orders", "fills", "positions", "slippage", "venue_fills", "shadow"],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"python"},
    code_version="1",
    metadata=described("pnl_waterfall"),
)
def pnl_waterfall(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult:
    """From what the backtest expected of the day to what the venue's records say, one cause after the other.

    - **A row** is one step of one strategy in one market: edge, signals, sizing, missed trades, delay, modelled cost,
      timing, spread, impact, fees, funding; in that order, exactly.
    - **It is for** finding where the money went. What is left to the venue's own fills, valued at the same positions
      and marks, is a break in the records and no cause.
    - **It breaks** when shadow, slippage or the venue's fills are not made. The last step is unknown where the venue's
      fills are not certified complete.
    """
    from research_to_prod.attribution.waterfall_days import waterfalls_of_day

    day = context.partition_key
    desk, read = read_desk_day(lake, day)
    shadow, slippage, venue = (lake.read(name, day) for name in ("shadow", "slippage", "venue_fills"))
    proofs = lake.read("fetch_certificates", f"venue_fills-{day}")
    complete = {(row["venue"], row["scope"]): bool(row["complete"]) for row in proofs.rows.to_pylist()}
    rows = waterfalls_of_day(desk, shadow.rows, slippage.rows, venue.rows, complete)
    return publish(
        lake,
        "pnl_waterfall",
        day,
        rows,
        read=(*read, shadow, slippage, venue, proofs),
        excluded=rows.num_rows - rows["excluded_reason"].null_count,
        **waterfall_picture(rows),
        bars=table_preview(_by_cause(rows)),
    )


@dg.asset(
    deps=[dg.AssetDep("shadow", partition_mapping=dg.AllPartitionMapping())],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("edge_verdicts"),
)
def edge_verdicts(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Whether each strategy's edge is gone, or execution is eating it, from all of its days so far.

    - **A row** is the answer to one question about one strategy, and the verdict that its three answers make: NORMAL,
      EXECUTION, EDGE, BOTH, SELECTION, or INCONCLUSIVE with the days until it can say more.
    - **It is for** deciding between less capital and better execution. Looking every evening is paid for; how often it
      is wrong is measured in ``docs/edge_verdicts.md``.
    - **It breaks** when the shadow of the day is not made, or the policy can't be read; too few days are inconclusive.
    """
    from research_to_prod.attribution.verdict_days import verdicts_of_day
    from research_to_prod.attribution.verdict_policy import load_attribution_policy

    day = context.partition_key
    days = sorted(each for each in lake.versions("shadow") if each and each <= day)
    record = lake.read("shadow", days)
    policy = load_attribution_policy(settings.desk / "policies" / "attribution.yaml")
    rows = verdicts_of_day(record.rows, day, policy)
    said = rows.group_by(["strategy", "verdict", "verdict_days", "reason"]).aggregate([])
    return publish(
        lake,
        "edge_verdicts",
        day,
        rows,
        read=(record,),
        days=len(days),
        strategies=said.num_rows,
        inconclusive=said["verdict"].to_pylist().count("INCONCLUSIVE"),
        verdicts=table_preview(said),
        **verdicts_picture(rows),
    )


@dg.asset(
    deps=[
        dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
        for name in ("shadow", "pnl_waterfall", "candidate", "backtest")
    ],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="2",
    metadata=described("drawdowns"),
)
def drawdowns(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """The drawdowns of each strategy's record: when, how deep, made of which causes, and whether to be expected.

    - **A row** is one part of one drawdown, of the deepest ten, each split exactly by the waterfall's causes, by market
      and by venue; episode 0 is the record itself.
    - **It is for** telling a bad month from a broken strategy: whether the record is within what the deflated backtest
      lets expect is said from twenty days on, and INCONCLUSIVE before.
    - **It breaks** when shadow or waterfall of the day is not made.
    """
    from research_to_prod.attribution.drawdown_days import drawdowns_of_day
    from research_to_prod.defs.attribution.models import read_backtests

    day = context.partition_key
    days = sorted(each for each in lake.versions("shadow") if each and each <= day)
    shadow = lake.read("shadow", days)
    waterfall = lake.read("pnl_waterfall", [each for each in days if lake.has("pnl_waterfall", each)])
    backtests, read = read_backtests(lake, settings, set(shadow.rows["strategy"].to_pylist()))
    rows, curves = drawdowns_of_day(shadow.rows, waterfall.rows, day, backtests)
    records = rows.filter(pc.is_valid(rows["standing"]))
    return publish(
        lake,
        "drawdowns",
        day,
        rows,
        read=(shadow, waterfall, *read),
        days=len(days),
        records=table_preview(records.select(["strategy", "loss", "standing", "reason"])),
        **underwater_picture(rows, curves),
    )


@dg.asset(
    deps=[
        "fills",
        "quotes",
        "fee_schedules",
        "drawdowns",
        dg.AssetDep("failure_modes", partition_mapping=DAY_BEFORE),
        *(
            dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping())
            for name in (
                "decisions", "orders", "slippage", "markouts", "shadow", "candles", "funding_rates", "market_findings",
                "liquidity_profile",
            )
        ),
    ],
    partitions_def=DAYS,
    group_name="attribution",
    owners=["team:trading"],
    kinds={"numpy"},
    code_version="1",
    metadata=described("failure_modes"),
)  # fmt: skip
def failure_modes(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Which of fourteen named ways to lose money were present: in each market today, in each drawdown, in the record.

    - **A row** is one answer about one mode: present, absent, or unknown with the input that is missing; the rules are
      in ``docs/failure_modes.md``.
    - **It is for** asking the next question after a loss. A drawdown has the modes of the days on which it fell; of the
      record it is said how losses gather on the days with a mode, and how often they would by accident. That tells when
      something was going on, and no cause.
    - **It breaks** when shadow or drawdowns of the day are not made; a missing input makes answers unknown.
    """
    from research_to_prod.attribution.failure_mode_days import Evening, diagnose_day, modes_of_day
    from research_to_prod.attribution.failure_mode_inputs import case_of_day
    from research_to_prod.attribution.failure_mode_policy import load_failure_mode_policy
    from research_to_prod.defs.attribution.market_days import MarketDays

    day = context.partition_key
    policy = load_failure_mode_policy(settings.desk / "policies" / "failure_modes.yaml")
    shadow = lake.read("shadow", sorted(each for each in lake.versions("shadow") if each and each <= day))
    drawdowns, before = lake.read("drawdowns", day), read_before(lake, "failure_modes", day)
    days = MarketDays(lake, day, shadow.rows)
    found = {}
    for place in days.places():
        desk = days.desk(place)
        case = case_of_day(day, place, days.market(place), desk)
        found[place] = diagnose_day(case, policy, min(desk.shadow["day"].to_pylist()))
    rows = modes_of_day(Evening(day, found, before.rows, shadow.rows, drawdowns.rows), policy)
    present = rows.filter(pc.equal(rows["answer"], "present"))
    unknown = rows.filter(pc.and_(pc.equal(rows["answer"], "unknown"), pc.not_equal(rows["symbol"], "all")))
    return publish(
        lake,
        "failure_modes",
        day,
        rows,
        read=(shadow, drawdowns, before, *days.read),
        markets=len(found),
        **modes_picture(rows),
        present=table_preview(present.select(["strategy", "episode", "symbol", "mode", "days_present", "p_value"])),
        unknown=table_preview(unknown.group_by(["mode", "reason"]).aggregate([("symbol", "count")])),
    )


def _by_cause(rows: pa.Table) -> pa.Table:
    """Return the amounts of all markets together, in the order of the steps."""
    return rows.group_by(["step", "cause"]).aggregate([("amount", "sum")]).sort_by("step")
