"""How an encoder is judged: data sets, cohorts, transfer, metrics."""
