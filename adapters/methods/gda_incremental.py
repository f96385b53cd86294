"""GDA that learns class after class: sessions of new classes add to its statistics, and no image is kept."""

from dataclasses import dataclass, field

from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_statistics import ClassStatistics, all_views
from evenly.adapters.forms.sessions import SessionLearner
from evenly.adapters.methods.gda import GDA


@dataclass(kw_only=True, eq=False)
class GDAIncremental(SessionLearner, GDA):
    """`GDA` (arXiv:2402.04087) with `partial_fit` for class-incremental learning, after CPE-CLIP's setting.

    In place of CPE-CLIP's prompts, which need the images again, statistics of the features: rows per class `counts_`
    (c,), `means_` (c, d) and the pooled `scatter_` (d, d) of all sessions so far. They do not depend on the sessions'
    order, so nothing is forgotten: after any split into sessions the fit equals that on all rows at once, to rounding.
    A class of a later session gets the mean evidence of the others until its images come.
    """

    counts_: Integers = field(init=False, repr=False)
    means_: Floats = field(init=False, repr=False)
    scatter_: Floats = field(init=False, repr=False)

    def _learn(self, features: Features, labels: Integers) -> None:
        rows, repeated = all_views(features, labels)
        self._keep(ClassStatistics.of(rows, repeated, n_classes=len(self.prototypes_)))

    def _learn_session(self, features: Features, labels: Integers, earlier: Integers) -> None:
        statistics = ClassStatistics(counts=self.counts_, means=self.means_, scatter=self.scatter_)
        rows, repeated = all_views(features, labels)
        self._keep(statistics.joined(ClassStatistics.of(rows, repeated, n_classes=len(earlier))))

    def _keep(self, statistics: ClassStatistics) -> None:
        self.counts_, self.means_, self.scatter_ = statistics.counts, statistics.means, statistics.scatter
        self._solve(statistics)
