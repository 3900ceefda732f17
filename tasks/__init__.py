"""How an encoder is evaluated: data sets, cohorts, transfer, metrics."""
