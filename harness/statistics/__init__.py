"""Statistics: from trials to cells, contrasts and answers; and the audit of the paper's own numbers."""
