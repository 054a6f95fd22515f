"""HTML reports: the only place of the package that writes HTML."""
