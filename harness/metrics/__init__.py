"""Metrics as values: how each is named, printed, bounded, compared and computed. No torch.

``metric_of(name)`` finds one by its registered name or by a dotted path; nothing else in the tree knows one by name.
"""

from harness.metrics.cases import Cases as Cases
from harness.metrics.cases import Classified as Classified
from harness.metrics.cases import Segmented as Segmented
from harness.metrics.computing import OfClasses as OfClasses
from harness.metrics.computing import OfCounts as OfCounts
from harness.metrics.computing import OfMasks as OfMasks
from harness.metrics.computing import Pooled as Pooled
from harness.metrics.computing import Whole as Whole
from harness.metrics.metric import Metric as Metric
from harness.metrics.registered import is_known as is_known
from harness.metrics.registered import metric_of as metric_of
from harness.metrics.registered import out_of_bounds as out_of_bounds
from harness.metrics.registered import stored_metric as stored_metric
