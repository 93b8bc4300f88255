"""Processing of changes: the Faust agents, and the processors that publish the results."""
