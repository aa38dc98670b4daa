"""The report: what the tables say, in sentences, and pages to read."""
