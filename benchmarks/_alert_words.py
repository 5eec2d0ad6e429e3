"""What the page of the study of alert quality says besides its tables.

Belongs here: text. Doesn't: figures of a run (``_alert_page``).
"""

from __future__ import annotations

MADE = """\
**Simulated**: one venue, two perpetuals, two strategies that are flat a third of the time, 2,000,000 of capital. \
Volume, volatility, spread and depth follow the hour of the week, wild spells come twice a week, and nuisances are no \
faults: sockets that reconnect, a late answer, a fill that is booked one look later, a clock that steps, a coin that \
wiggles. {kinds} kinds of fault are drawn at random hours, from faint to strong, and written into a journal; it is the \
truth, and no rule takes part in it. After {history} weeks of history come {training} weeks of training with {dense} \
faults of each kind, {scored} that are scored with {sparse} of each, and {calm} without any (seed {seed}). All rates \
and sizes are judgement, written down before a rule was asked; faults are more frequent than a desk could bear, and \
precision depends on that. Scored weeks are scored once, and what they say changes no rule until other weeks are \
scored: those of seed 7 showed which rules page for nothing, those of seed 101 what changes do. Seed 11 was the first \
comparison: the shipped rules had 0.893 of the pages of the best baseline with our machinery, and one page for each \
fault found would have been 0.69 of them. Then the plain baselines and the parts taken out were added, and seed 13 was \
scored: 1.00 of the best with our machinery, 1.01 of the best plain one, 0.93 of the best tuned in hindsight to equal \
recall; one page for each fault found would have been 0.77. Ten of its fifteen pages about nothing were losses that \
the market had made, so one rule changed: `drawdown_burn` asks as well whether what the market did to what was held \
makes such a loss in one look of 10,000, the share by which `reject_rate` tells luck. Tried on seeds 7, 101 and 11 it \
told of 16 faults instead of 17, and paged for nothing three times instead of 23 in the weeks with faults, once \
instead of 14 times in the calm ones. Seed 17 was scored with that: 0.93, 0.94 and 0.86 of the three bests' pages, and \
0.14 a shift in calm weeks, where seed 13 had 0.46. A crash that costs less than the day's budget would then be told \
by no one, so half of the budget became a ticket, in a stressed market a page (three more pages for nothing on seeds \
7, 101 and 11, and three in their calm weeks). That was committed before seed {seed}, which was scored once. Version \
control has the pages of before.

The alerter makes a turn a minute: the project's own `profile_week`, live regime, calendars, `evaluate` and `take_in`; \
a person acknowledges after three minutes and resolves what has been calm for ten. {rules} of the thirty rules take \
part: those that page and whose metrics are simulated. Tickets are not counted.

A page is about a fault when rule family and subject agree and it comes between the fault's begin and {grace} minutes \
after its end. Recall is over faults that begin with something at stake. The blind time is that of the exposure in the \
minute before. Intervals are 90 %, bootstrapped by day."""

SYSTEMS = """\
- **{shipped}**: `desk/alerts` as it is. Nothing of it was tuned here.
- **{trained}**: the same context, each rule's levels times what training found (1 to 4), to the recall of the shipped \
ones. This is what the baselines' advantage of knowing these weeks is worth; it isn't shipped.
- **static thresholds**: the level of normal hours times what training found (0.7 to 4), always; knows no exposure.
- **day and night**: the same with two levels, 06 to 22 UTC and the rest.
- **same-hour z**: robust z-score against this hour of the week, its limit (7 to 35) from training.

What the market alone makes of a position (`loss_1h` in `drawdown_burn`) no baseline asks: it is context, and no level.

Each baseline takes, rule by rule, the level with the fewest pages that detects as many training faults of the rule's \
own kind as the shipped rules do. What counts events (a missing fill is one) is the same for all, and so are lasting \
times, minimum counts, what is beyond chance, parents, grouping and reopening: what is compared is levels and context. \
(A z-score is no share of events, so that chance can't be told of it.)

**Plain** baselines are what a desk has with a file of thresholds: the same metrics in Prometheus's rules and \
Alertmanager's messages, and nothing of ours. What pages has one level a rule and metric, and `for`. There are no \
minimum counts and no chance (of one event a share can be told, of none it can't), no exposure, regime or calendar, \
and no rule speaks for another.

- **plain static**: the level of normal hours times 0.7 to 10, always.
- **plain day and night**: a level and a `for` for 06 to 22 UTC, others for the rest.
- **plain z**: the z-score of above, its limit 7 to 60.

They keep each rule's resolve threshold and calm time (`keep_firing_for`), and `absent` for where not seeing pages, \
after the time for which a measurement is fresh. Level and `for` (0, 1, 2, 5 or 10 minutes) are chosen rule by rule as \
above: of the pairs that detect as many training faults of the rule's own kind as the shipped rules do, the one with \
the fewest pages. Notified is each rule and subject (`group_by` both): one page when it begins to fire, and the next \
when it fires again after Alertmanager has found it resolved, for which it looks every five minutes \
(`group_interval`). It waits for nothing before the first (`group_wait`), and repeats after four hours are not \
counted, because who is on call has acknowledged.

The best of either sort is the one with the fewest pages of those whose recall in the scored weeks is at most five \
points below that of the shipped rules; of all, were there none."""

TUNED_OTHERWISE = """\
A long `for` buys silence with time. So there are three ways to tune them, and the best of the plain ones under each; \
the first is that of the targets and of all other tables. In the second only what is told within the blind time counts \
as detected, of the shipped rules as of the plain ones, in training and for who is the best. In the third `for` is the \
shipped rule's, at most a minute."""

HINDSIGHT = """\
What is tuned in training falls short of the shipped rules' recall later. So here every baseline is tuned once more, \
rule by rule in the same way, on the scored weeks themselves: the fewest pages that it could have had for as many \
faults of each rule's own kind, if some level finds as many. No desk has this; it is what "at equal recall" asks for. \
The last column is what rules without any page too many \
would come to."""

FEWER = """\
Pages a week were faults rarer than {faults:.3g} a week: pages about faults in proportion, pages about nothing as \
often as in the scored and the calm weeks. In brackets the shipped rules' over its."""

APART = """\
The shipped rules with one part taken out of all of them, in the same weeks. Nothing is tuned again: a part that is \
worth little here may stand for another that is there too. Without exposure a little is at stake in each market, \
always. Without regime and hour every market is normal, without an event, at the levels of normal hours. Without \
inhibition, parents and grouping each rule and subject is an incident of its own, which is still opened again within a \
day rather than followed by another."""

REGIMES = """\
Of the market concerned, at the beginning of a fault and at the time of a page: recall (faults), precision (pages)."""

DATED = """\
Reconstructed from published figures, in one week of a book that is long 400,000 in each market. Minutes to the first \
page; the blind time is this book's. Not part of any score above."""

LIMITS = """\
- Simulated by the authors of the rules. Half of a real desk's nuisances are of kinds that nobody thought of.
- A turn a minute can't tell anything within a blind time of less; with {short} of {faults} scored faults it is.
- {few} weeks and {faults} faults with something at stake: a kind has a handful of them, a regime fewer.
- Sixteen rules are not measured: tickets, and pages whose inputs are not simulated (orders that aren't ours, \
balances, transfers, forced events, slippage, protective orders among them).
- Escalation is not: the person on call always answers.
- Parts are taken out of all rules at once; no single rule was removed, nor its level moved.
- The plain baselines are our reading of what a desk would write, tuned on weeks denser in faults than it would have."""
